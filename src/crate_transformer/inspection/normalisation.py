"""Normalisation of projected tokens for measurements."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Normalisation = Literal["head", "token", "none"]
NORMALISATIONS = ("head", "token", "none")


def at_least_float32(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """16-bit tensors converted to float32 for measurements."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def scale(
    projected: Float[Tensor, "batch heads tokens head_dim"],
    tokens: Float[Tensor, "batch tokens dim"] | None,
    normalisation: Normalisation,
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """The normalised projections: unit length in every head, divided by the length of the token (without a bias, this
    is the projection of a token of unit length), or unchanged; in float32 or better."""
    projected = at_least_float32(projected)
    if normalisation == "head":
        return F.normalize(projected, dim=-1)
    if normalisation == "token" and tokens is not None:
        return projected / at_least_float32(tokens).norm(dim=-1).clamp_min(1e-12)[:, None, :, None]
    return projected


def check_normalisation(normalisation: str) -> None:
    """Raise ``ValueError`` for an unknown normalisation."""
    if normalisation not in NORMALISATIONS:
        raise ValueError(f"normalisation is {normalisation!r}: choose one of {', '.join(NORMALISATIONS)}")
