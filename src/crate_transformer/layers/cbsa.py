"""The compression step of a CBT layer."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.attention_rows import AttentionRows
from crate_transformer.layers.grid_means import Pooling, grid_means
from crate_transformer.layers.hook_point import HookPoint
from crate_transformer.layers.softmax_attention import softmax_attention


class CBSA(nn.Module):
    r"""Contract-and-broadcast self-attention: 64 representatives are compressed, and the result is broadcast to the
    tokens.

    In each head, with rows for tokens, :math:`W = Z U_k`, and means :math:`R_0` over 8 x 8 cells of the patches' grid,

    .. math::
        A &= \mathrm{softmax}\bigl(p^{-1/2} R_0 W^\top\bigr), & R &= R_0 + \rho_k A W, \\
        C &= \mathrm{softmax}\bigl(p^{-1/2} R R^\top\bigr) R, & \mathrm{CBSA}(Z) &= [\sigma_k A^\top C]_{k=1}^K W_o

    (arXiv 2509.16875, algorithm 1, with the output map and the learned step sizes :math:`\rho, \sigma` of the released
    code, which may be negative.) Time is linear in the number of tokens. A row of its attention map is that of
    :math:`A^\top A`, divided by its sum.

    Hook points: ``projection`` :math:`W`, ``(batch, heads, tokens, head_dim)``; ``coefficients`` :math:`A^\top`,
    ``(batch, heads, tokens, representatives)``; ``representatives`` :math:`R`; ``contraction``, the softmax map of
    :math:`C`, computed only when a hook is registered there; ``head_output`` :math:`\sigma_k A^\top C`.

    Args:
        pooling: as in ``grid_means``; the released weights need ``"shifted"``.
    """

    rows = AttentionRows(query="coefficients", key="coefficients", softmax=False)

    def __init__(self, dim: int, num_heads: int, *, pooling: Pooling = "plain") -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.pooling: Pooling = pooling
        self.subspaces = nn.Linear(dim, dim, bias=False)
        self.representative_step = nn.Parameter(torch.randn(num_heads))
        self.token_step = nn.Parameter(torch.randn(num_heads))
        self.out = nn.Linear(dim, dim)
        self.projection = HookPoint()
        self.coefficients = HookPoint()
        self.representatives = HookPoint()
        self.contraction = HookPoint()
        self.head_output = HookPoint()

    def project(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r""":math:`U_k^\top z` of every head."""
        return rearrange(self.subspaces(z), "b n (h p) -> b h n p", h=self.num_heads)

    def forward(
        self, z: Float[Tensor, "batch tokens dim"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        """
        Args:
            grid: as in ``grid_means``.
        """
        w = self.projection(self.project(z))
        start = grid_means(w, grid, self.pooling)
        a = self.coefficients(((start * w.shape[-1] ** -0.5) @ w.mT).softmax(dim=-1).mT)
        moved = start + self.representative_step[:, None, None] * (a.mT @ w)
        r = self.representatives(moved.to(w.dtype))
        mixed = self.token_step[:, None, None] * (a @ softmax_attention(r, r, r, self.contraction))
        return self.out(rearrange(self.head_output(mixed.to(w.dtype)), "b h n p -> b n (h p)"))
