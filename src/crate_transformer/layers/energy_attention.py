"""The attention step of a Hyper-SET layer."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.attention_rows import AttentionRows
from crate_transformer.layers.hook_point import HookPoint
from crate_transformer.layers.rms_norm import RMSNorm, rms_norm
from crate_transformer.layers.tied_linear import TiedLinear

AttentionEnergy = Literal["softmax", "sigma", "sigma_square", "relu", "sigmoid", "silu"]
"""The energies of ``EnergyAttention``."""


class EnergyAttention(nn.Module):
    r"""The gradient of an energy that is large where tokens are similar in a subspace.

    .. math::
        E(Z) = \frac1s \sum_k \sum_i \log \sum_j \exp\bigl(s \langle w_{ki}, w_{kj} \rangle\bigr), \qquad
        w_{ki} = \mathrm{RMSNorm}(U_k^\top z_i), \quad s = p^{-1/2}

    Rows for tokens, the layer computes :math:`[S_k V_k]_{k=1}^K U_{[K]}^\top` with :math:`S = \mathrm{softmax}(s Q
    K^\top)` over rows plus the same over columns, where :math:`Q, K, V` are :math:`U_k^\top Z` normalised with a gain
    of each (arXiv 2502.11646 and its released code). The block subtracts it. As in the released code, this is the
    gradient with respect to :math:`w`, mapped back by :math:`U_{[K]}`: it omits the derivative of RMSNorm.

    Other energies have other :math:`S`, with :math:`g = \sigma(s Q K^\top)`: ``"sigma"`` :math:`g(1 - g)`,
    ``"sigma_square"`` :math:`g^2 (1 - g)`, ``"relu"`` :math:`\mathrm{ReLU}(Q K^\top)`, as in the code without
    :math:`s`. ``"sigmoid"`` and ``"silu"`` are linear in the number of tokens: with this function as :math:`\phi`,
    :math:`s\, \phi(V) \phi(Q)^\top \phi(K) \odot \phi'(Q)` takes the place of :math:`S V`.

    Hook points: ``projection`` :math:`U_k^\top z`, ``query`` and ``key``, all ``(batch, heads, tokens, head_dim)``;
    ``score`` :math:`S`, ``(batch, heads, tokens, tokens)``; ``head_output``, before the output map. A row of its
    attention map is a row of the softmax over rows; the other energies have no attention map.
    """

    def __init__(self, dim: int, num_heads: int, *, energy: AttentionEnergy = "softmax") -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.energy_kind = energy
        self.rows = AttentionRows(query="query", key="key") if energy == "softmax" else None
        self.subspaces: Any = TiedLinear(dim, dim)
        self.query_norm, self.key_norm, self.value_norm = (RMSNorm(dim // num_heads) for _ in range(3))
        self.projection = HookPoint()
        self.query = HookPoint()
        self.key = HookPoint()
        if energy not in PHI:
            self.score = HookPoint()
        self.head_output = HookPoint()

    def project(
        self, z: Float[Tensor, "batch tokens dim"], change: Float[Tensor, "dim dim"] | None = None
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        r""":math:`U_k^\top z` of every head."""
        return rearrange(self.subspaces(z, change), "b n (h p) -> b h n p", h=self.num_heads)

    def forward(
        self, z: Float[Tensor, "batch tokens dim"], change: Float[Tensor, "dim dim"] | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        w = self.projection(self.project(z, change))
        q, k, v = self.query(self.query_norm(w)), self.key(self.key_norm(w)), self.value_norm(w)
        mixed = self.head_output(self._mix(q, k, v).to(w.dtype))
        return self.subspaces.back(rearrange(mixed, "b h n p -> b n (h p)"), change)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor) -> Float[Tensor, "batch heads tokens head_dim"]:
        scale = q.shape[-1] ** -0.5
        if self.energy_kind in PHI:
            phi, slope = PHI[self.energy_kind]
            return (phi(v) @ (phi(q).mT @ phi(k) * scale)) * slope(q)
        products = q @ k.mT
        if self.energy_kind == "softmax":
            score = (scale * products).softmax(dim=-1) + (scale * products).softmax(dim=-2)
        elif self.energy_kind == "relu":
            score = products.relu()
        else:
            g = (scale * products).sigmoid()
            score = g * (1 - g) * (g if self.energy_kind == "sigma_square" else 1)
        return self.score(score).to(v.dtype) @ v

    def energy(
        self, z: Float[Tensor, "batch tokens dim"], change: Float[Tensor, "dim dim"] | None = None
    ) -> Float[Tensor, " batch"]:
        r""":math:`E(Z)` without gains; for the other variants the energy whose gradient they compute, for ``"relu"`` up
        to the factor :math:`s`."""
        w = rms_norm(self.project(z, change))
        scale = w.shape[-1] ** -0.5
        if self.energy_kind in PHI:
            phi = PHI[self.energy_kind][0]
            return (phi(w).mT @ phi(w)).square().sum(dim=(1, 2, 3)) * scale / 4
        products = scale * w @ w.mT
        if self.energy_kind == "softmax":
            return products.logsumexp(dim=-1).sum(dim=(1, 2)) / scale
        if self.energy_kind == "sigma":
            return products.sigmoid().sum(dim=(1, 2, 3)) / (2 * scale)
        squares = (products.relu() if self.energy_kind == "relu" else products.sigmoid()).square()
        return squares.sum(dim=(1, 2, 3)) / (4 * scale)


def silu_slope(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The derivative of SiLU."""
    return x.sigmoid() * (1 + x * (1 - x.sigmoid()))


PHI = {"sigmoid": (torch.sigmoid, lambda x: x.sigmoid() * (1 - x.sigmoid())), "silu": (F.silu, silu_slope)}
"""Functions with their derivatives."""
