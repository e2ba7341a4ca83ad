"""The compressing step of a ToST layer."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.full_precision import full_precision, wide_dtype
from crate_transformer.layers.hook_point import HookPoint


class TSSA(nn.Module):
    r"""Token statistics self-attention: each head attenuates the directions with the largest second moment.

    .. math::
        \mathrm{TSSA}(Z) = -W \Bigl[\, \tfrac{1}{1 + s_k} \odot U_k^\top Z\, \mathrm{diag}(\pi_k) \Bigr]_{k=1}^K, \qquad
        s_k = (U_k^\top Z)^{\odot 2} \, \tfrac{\pi_k}{\langle \pi_k, 1 \rangle}, \qquad
        \pi_{\cdot j} = \mathrm{softmax}_k \bigl(\theta_k \lVert \hat w_{kj} \rVert^2\bigr)

    where :math:`\hat W_k` are the rows of :math:`U_k^\top Z` (one direction over all tokens each), scaled to unit
    length (arXiv 2412.17810, with the trainable output map ``W`` of the released code). Tokens are not compared in
    pairs, so time is linear in their number. Sums over tokens are computed in float32 or better, also under autocast.

    Hook points: ``projection`` :math:`U_k^\top z`, ``(batch, heads, tokens, head_dim)``; ``membership``
    :math:`\pi`, the weight of each head in each token, ``(batch, heads, tokens)``; ``head_output``, what each head
    adds, before the output map.

    Args:
        bias: whether the projection has one.
    """

    rows = None  # no two tokens are compared

    def __init__(self, dim: int, num_heads: int, *, bias: bool = True) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.subspaces = nn.Linear(dim, dim, bias=bias)
        self.temperature = nn.Parameter(torch.ones(num_heads))
        self.out = nn.Linear(dim, dim)
        self.projection = HookPoint()
        self.membership = HookPoint()
        self.head_output = HookPoint()

    def project(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r""":math:`U_k^\top z` of every head."""
        return rearrange(self.subspaces(z), "b n (h p) -> b h n p", h=self.num_heads)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        projected = self.projection(self.project(z))
        with full_precision(z.device):
            w = projected.to(wide_dtype(projected.dtype))
            squares = w.square()
            lengths = squares.sum(dim=2).clamp_min(1e-24)
            fraction = (squares @ (1 / lengths).unsqueeze(-1)).squeeze(-1)
            pi = self.membership((self.temperature[:, None] * fraction).softmax(dim=1))
            moments = (pi / (pi.sum(dim=-1, keepdim=True) + 1e-8)).unsqueeze(2) @ squares
            mixed = w * pi.unsqueeze(-1) * (-1 / (1 + moments))
        return self.out(rearrange(self.head_output(mixed.to(projected.dtype)), "b h n p -> b n (h p)"))
