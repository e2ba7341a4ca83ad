"""A learned scale for each channel of a residual branch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.fold_norm import frozen_linear


class LayerScale(nn.Module):
    r""":math:`\mathrm{diag}(\gamma)\, z`, where every :math:`\gamma_i` starts at ``initial_value``
    (arXiv 2103.17239, eq. 2)."""

    def __init__(self, dim: int, initial_value: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), initial_value))

    def forward(self, z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.gamma * z


def fold_scale(linear: nn.Linear, scale: LayerScale) -> tuple[nn.Linear, nn.Identity]:
    r"""Fold a scale into the linear map before it: :math:`\gamma \odot (W z + b) = (\mathrm{diag}(\gamma) W) z
    + \gamma \odot b`."""
    bias = None if linear.bias is None else scale.gamma * linear.bias
    return frozen_linear(scale.gamma[:, None] * linear.weight, bias), nn.Identity()
