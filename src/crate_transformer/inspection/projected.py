"""Tokens seen through a layer's projection, scaled by a rule that has a name."""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.inspection.attention import by_head

Normalisation = Literal["head", "token", "none"]
NORMALISATIONS = ("head", "token", "none")


def project(
    block: nn.Module, tokens: Float[Tensor, "batch tokens dim"]
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """What the block's attention would compare if these were its normed tokens: MSSA's projection, a ViT's keys.

    Raises:
        ValueError: the block has neither.
    """
    if hasattr(block, "mssa"):
        return by_head(block.mssa.subspaces(tokens), block.mssa.num_heads)
    if hasattr(block, "attn"):
        dim = tokens.shape[-1]
        qkv = block.attn.qkv
        return by_head(F.linear(tokens, qkv.weight[dim : 2 * dim], qkv.bias[dim : 2 * dim]), block.attn.num_heads)
    raise ValueError(f"{type(block).__module__}.Block has no projection that can be applied to other tokens")


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
