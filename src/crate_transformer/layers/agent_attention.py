"""Agent attention: the attention of a ViT through a few representatives."""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.attention_rows import AttentionRows
from crate_transformer.layers.grid_means import Pooling, grid_means
from crate_transformer.layers.hook_point import HookPoint


class AgentAttention(nn.Module):
    r"""Agent attention: 64 representatives attend to the tokens, and the tokens attend to the representatives.

    .. math:: A = \mathrm{softmax}(p^{-1/2} Q_0 K^\top), \qquad
              \mathrm{Agent}(Z) = \bigl[\mathrm{softmax}(p^{-1/2} Q Q_0^\top)\, A V\bigr]_{k=1}^K W_o

    with means :math:`Q_0` of the queries over 8 x 8 cells of the patches' grid (arXiv 2312.08874; here as the released
    code of arXiv 2509.16875 adapts ViTs: CBSA without contraction, with a ViT's queries, keys and values). Time is
    linear in the number of tokens. A row of its attention map is that of the product of the two softmax maps.

    Hook points: ``query``, the queries; ``projection``, the keys; ``coefficients`` :math:`A^\top` and ``reading``, the
    softmax map of the tokens, both ``(batch, heads, tokens, representatives)``; ``head_output``.

    Args:
        pooling: as in ``CBSA``.
        qk_norm: apply a LayerNorm per head to :math:`Q_0` and the keys in :math:`A`, and nowhere else, as in the
            released code.
        out_norm: apply a LayerNorm to the concatenated heads before the output map.
    """

    rows = AttentionRows(query="reading", key="coefficients", softmax=False)

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        pooling: Pooling = "plain",
        qkv_bias: bool = True,
        qk_norm: bool = False,
        out_norm: bool = False,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.pooling: Pooling = pooling
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.query_norm = nn.LayerNorm(dim // num_heads) if qk_norm else nn.Identity()
        self.key_norm = nn.LayerNorm(dim // num_heads) if qk_norm else nn.Identity()
        self.out_norm = nn.LayerNorm(dim) if out_norm else nn.Identity()
        self.out = nn.Linear(dim, dim)
        self.query = HookPoint()
        self.projection = HookPoint()
        self.coefficients = HookPoint()
        self.reading = HookPoint()
        self.head_output = HookPoint()

    def project(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        """The keys of every head alone."""
        keys = slice(z.shape[-1], 2 * z.shape[-1])
        bias = None if self.qkv.bias is None else self.qkv.bias[keys]
        return rearrange(F.linear(z, self.qkv.weight[keys], bias), "b n (h p) -> b h n p", h=self.num_heads)

    def forward(
        self, z: Float[Tensor, "batch tokens dim"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        """
        Args:
            grid: as in ``grid_means``.
        """
        q, k, v = rearrange(self.qkv(z), "b n (three h p) -> three b h n p", three=3, h=self.num_heads)
        q, k = self.query(q), self.projection(k)
        q0, scale = grid_means(q, grid, self.pooling), q.shape[-1] ** -0.5
        a = self.coefficients((scale * self.query_norm(q0) @ self.key_norm(k).mT).softmax(dim=-1).mT)
        reading = self.reading((scale * q @ q0.mT).softmax(dim=-1))
        mixed = self.head_output((reading @ (a.mT @ v)).to(v.dtype))
        return self.out(self.out_norm(rearrange(mixed, "b h n p -> b n (h p)")))
