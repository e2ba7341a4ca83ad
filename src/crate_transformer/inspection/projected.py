"""Tokens seen through a layer's projection, scaled by a rule that has a name."""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Normalisation = Literal["head", "token", "none"]
NORMALISATIONS = ("head", "token", "none")


def scale(
    projected: Float[Tensor, "batch heads tokens head_dim"],
    tokens: Float[Tensor, "batch tokens dim"] | None,
    normalisation: Normalisation,
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """The projections of scaled tokens: of unit length in every head, of a token of unit length, or as they are."""
    if normalisation == "head":
        return F.normalize(projected, dim=-1)
    if normalisation == "token" and tokens is not None:
        return projected / tokens.norm(dim=-1).clamp_min(1e-12)[:, None, :, None]
    return projected


def check_normalisation(normalisation: str) -> None:
    """Refuse a rule that does not exist."""
    if normalisation not in NORMALISATIONS:
        raise ValueError(f"normalisation is {normalisation!r}: choose one of {', '.join(NORMALISATIONS)}")
