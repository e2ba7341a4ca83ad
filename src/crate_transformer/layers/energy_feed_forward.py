"""The feed-forward step of a Hyper-SET layer."""

from functools import partial
from typing import Any, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.energy_attention import PHI
from crate_transformer.layers.hook_point import HookPoint
from crate_transformer.layers.rms_norm import RMSNorm, rms_norm
from crate_transformer.layers.tied_linear import TiedLinear

FeedForwardEnergy = Literal["gelu", "relu", "softmax", "sigmoid", "silu"]
"""The energies of ``EnergyFeedForward``."""


class EnergyFeedForward(nn.Module):
    r"""The negative gradient of an energy that is small where a token is similar to atoms of a dictionary.

    .. math:: E(Z) = -\tfrac12 \sum_i \lVert \mathrm{ReLU}(h_i) \rVert^2, \qquad
              h_i = \mathrm{RMSNorm}(D^\top z_i), \qquad \mathrm{FF}(z) = D\,\mathrm{ReLU}(h)

    (arXiv 2502.11646; the released code for images uses GELU instead of ReLU, and a gain in the norm.) The block adds
    it. Like the released code, it omits the derivative of RMSNorm.

    Other energies use another function: ``"softmax"`` over the atoms, or, with ``"sigmoid"`` or ``"silu"`` as
    :math:`\phi`, :math:`\langle \phi(h), 1 \rangle\, \phi'(h)`.

    Hook point: ``hidden`` :math:`h`, ``(batch, tokens, atoms)``.
    """

    def __init__(self, dim: int, num_atoms: int, *, energy: FeedForwardEnergy = "gelu") -> None:
        super().__init__()
        self.energy_kind = energy
        self.dictionary: Any = TiedLinear(dim, num_atoms)
        self.norm = RMSNorm(num_atoms)
        self.hidden = HookPoint()

    def forward(
        self, z: Float[Tensor, "batch tokens dim"], change: Float[Tensor, "atoms dim"] | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        h = self.hidden(self.norm(self.dictionary(z, change)))
        if self.energy_kind in PHI:
            phi, slope = PHI[self.energy_kind]
            code = phi(h).sum(dim=-1, keepdim=True) * slope(h)
        else:
            code = {"gelu": F.gelu, "relu": F.relu, "softmax": partial(F.softmax, dim=-1)}[self.energy_kind](h)
        return self.dictionary.back(code, change)

    def energy(
        self, z: Float[Tensor, "batch tokens dim"], change: Float[Tensor, "atoms dim"] | None = None
    ) -> Float[Tensor, " batch"]:
        r""":math:`E(Z)` without the gain; for GELU that of ReLU, otherwise the energy whose gradient it computes."""
        h = rms_norm(self.dictionary(z, change))
        if self.energy_kind == "softmax":
            return -h.logsumexp(dim=-1).sum(dim=1)
        if self.energy_kind in PHI:
            return -PHI[self.energy_kind][0](h).sum(dim=-1).square().sum(dim=1) / 2
        return -h.relu().square().sum(dim=(1, 2)) / 2
