"""Normalisation by the root of the mean square."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.full_precision import wide_dtype


def rms_norm(x: Float[Tensor, "*batch dim"], gain: Float[Tensor, " dim"] | None = None) -> Float[Tensor, "*batch dim"]:
    r""":math:`g \odot x / \sqrt{\mathrm{mean}(x^2) + \epsilon}` (arXiv 1910.07467), computed in float32 or better,
    with :math:`\epsilon` the machine epsilon of that precision."""
    wide = wide_dtype(x.dtype)
    gain = gain if gain is None else gain.to(wide)
    return F.rms_norm(x.to(wide), x.shape[-1:], gain, torch.finfo(wide).eps).to(x.dtype)


class RMSNorm(nn.Module):
    """``rms_norm`` with a learned gain."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return rms_norm(x, self.weight)
