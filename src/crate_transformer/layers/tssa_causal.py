"""Causal TSSA for language: the statistics of a token are computed from itself and the tokens before it."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.full_precision import full_precision, wide_dtype
from crate_transformer.layers.hook_point import HookPoint


class CausalTSSA(nn.Module):
    r"""Token statistics self-attention in which every sum over tokens runs up to the token itself.

    .. math::
        \mathrm{TSSA}(Z)_j = -W \Bigl[\, \tfrac{\pi_{kj}}{1 + s_{kj}} \odot w_{kj} \Bigr]_{k=1}^K, \quad
        s_{kj} = \frac{\sum_{i \le j} \pi_{ki} w_{ki}^{\odot 2}}{\sum_{i \le j} \pi_{ki}}, \quad
        \pi_{\cdot j} = \mathrm{softmax}_k \Bigl(\theta_k \sum_{c=1}^{p} \Bigl(
            \frac{w_{kjc}^2}{\sum_{i \le j} w_{kic}^2} + b_{kj} \Bigr)\Bigr)

    with :math:`w_{kj} = U_k^\top z_j` and a learned bias :math:`b_{kj}` per head and position (arXiv 2412.17810 and its
    released code). Time is linear in the tokens; sums are computed in float32 or better, also under autocast.

    Hook points: ``projection`` and ``membership``, as in ``TSSA``.

    Args:
        context_length: the largest number of tokens.
        bias: whether the two linear maps have biases.
    """

    def __init__(self, dim: int, num_heads: int, context_length: int, *, bias: bool = False) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.subspaces = nn.Linear(dim, dim, bias=bias)
        self.temperature = nn.Parameter(torch.ones(num_heads))
        self.denominator_bias = nn.Parameter(torch.zeros(num_heads, context_length, 1))
        self.out = nn.Linear(dim, dim, bias=bias)
        self.projection = HookPoint()
        self.membership = HookPoint()

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        projected = self.projection(rearrange(self.subspaces(z), "b n (h p) -> b h n p", h=self.num_heads))
        with full_precision(z.device):
            w = projected.to(wide_dtype(projected.dtype))
            squares = w.square()
            fraction = squares / squares.cumsum(dim=2).clamp_min(1e-12)
            # the first fraction is 1: autograd would compute its gradient from rounding errors of 1 / w, unbounded
            fraction = torch.cat([fraction[:, :, :1].detach(), fraction[:, :, 1:]], dim=2)
            fraction = fraction + self.denominator_bias[:, : z.shape[1]]
            pi = self.membership((self.temperature[:, None] * fraction.sum(dim=-1)).softmax(dim=1)).unsqueeze(-1)
            moments = (pi * squares).cumsum(dim=2) / (pi.cumsum(dim=2) + 1e-8)
            mixed = w * (-pi / (1 + moments))
        return self.out(rearrange(mixed.to(projected.dtype), "b h n p -> b n (h p)"))
