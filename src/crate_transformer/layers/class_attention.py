"""The class token reads the patches."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.attend import attend
from crate_transformer.layers.tap import Tap


class ClassAttention(nn.Module):
    r"""Attention with one query, :math:`\mathrm{softmax}(p^{-1/2} q_\mathrm{cls} K^\top) V` per head
    (arXiv 2103.17239, eqs. 5-8); returns the new class token alone, in time linear in the tokens.

    Tap: ``attention``, the softmax map ``(batch, heads, 1, tokens)``, computed only when somebody listens.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.attention = Tap()

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch 1 dim"]:
        q, k, v = rearrange(self.qkv(z), "b n (three h p) -> three b h n p", three=3, h=self.num_heads)
        mixed = attend(q[:, :, :1], k, v, self.attention)
        return self.out(rearrange(mixed, "b h n p -> b n (h p)"))
