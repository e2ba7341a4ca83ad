"""Patch features: the projections that attention compares."""

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.inspection.attention import by_head
from crate_transformer.inspection.frozen import frozen, to_model
from crate_transformer.inspection.reader import reader
from crate_transformer.inspection.record import record

_MAX_TOKENS = 2**14
"""Tokens in one forward pass."""


@dataclass(frozen=True, kw_only=True)
class PatchFeatures:
    """One feature vector for each patch, the layer, and the height and width of a patch in pixels."""

    features: Float[np.ndarray, "images rows columns dim"]
    layer: int
    patch_size: tuple[int, int]


def patch_features(
    model: nn.Module, images: Float[Tensor, "images channels height width"], *, layer: int = -1
) -> PatchFeatures:
    r"""The features :math:`[U_1^\top z_i; \dots; U_K^\top z_i]` of each patch, all heads concatenated; for a ViT the
    keys.

    These are the vectors that attention compares, without class token and registers (arXiv 2308.16271, appendix B), in
    float32.

    Args:
        model: a model of this package, or a plain ViT of timm or transformers.
        layer: zero-based, negative ones count from the end.

    Raises:
        ValueError: the layer does not exist (the message says which do), the model has no projection, a feature is not
            finite, or there are no images.
    """
    if not len(images):
        raise ValueError("patch features need at least one image")
    source = reader(model, attention=False)
    (number,) = source.choose_layers([layer])
    name = source.features[number]
    rows, columns = source.grid(images.shape[-2], images.shape[-1])
    parts = []
    for batch in images.split(max(1, _MAX_TOKENS // max(1, rows * columns))):
        with frozen(model), record(model, name) as seen:
            source.run(to_model(model, batch), number)
        tokens = by_head(seen[name], source.num_heads)
        source.check_tokens(tokens.shape[2], (rows, columns))
        patches = tokens[:, :, source.num_prefix_tokens :]
        parts.append(rearrange(patches.float().cpu(), "b heads (r c) p -> b r c (heads p)", r=rows))
    features = torch.cat(parts)
    if not features.isfinite().all():
        raise ValueError(f"the features of layer {number} are not finite: weights or images contain NaN or infinity")
    return PatchFeatures(features=features.numpy(), layer=number, patch_size=source.patch_size)
