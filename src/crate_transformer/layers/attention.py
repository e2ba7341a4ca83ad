"""Standard multi-head self-attention, for comparison."""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.attention_rows import AttentionRows
from crate_transformer.layers.hook_point import HookPoint
from crate_transformer.layers.softmax_attention import softmax_attention


class Attention(nn.Module):
    r"""Multi-head self-attention, :math:`\mathrm{softmax}(p^{-1/2} Q K^\top) V` per head (arXiv 1706.03762, eq. 1).

    Hook points: ``query``, the queries, and ``projection``, the keys (the features that DINO and MaskCut use), both
    ``(batch, heads, tokens, head_dim)``; ``attention``, the softmax map, computed only if a hook is registered there;
    ``head_output``, the output of each head before the output map.
    """

    rows = AttentionRows(query="query", key="projection")

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.query = HookPoint()
        self.projection = HookPoint()
        self.attention = HookPoint()
        self.head_output = HookPoint()

    def project(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        """The keys of every head."""
        keys = slice(z.shape[-1], 2 * z.shape[-1])
        return rearrange(
            F.linear(z, self.qkv.weight[keys], self.qkv.bias[keys]), "b n (h p) -> b h n p", h=self.num_heads
        )

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        q, k, v = rearrange(self.qkv(z), "b n (three h p) -> three b h n p", three=3, h=self.num_heads)
        q, k = self.query(q), self.projection(k)
        mixed = self.head_output(softmax_attention(q, k, v, self.attention))
        return self.out(rearrange(mixed, "b h n p -> b n (h p)"))
