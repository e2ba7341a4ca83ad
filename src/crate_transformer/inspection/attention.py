"""Where a token looks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crate_transformer.inspection.frozen import frozen, to_model
from crate_transformer.inspection.record import record
from crate_transformer.models import Backbone

_MAX_ENTRIES = 2**21
"""Entries of one layer's full maps that are held at a time: 8 MiB in float32, about what stays in a CPU's cache."""


@dataclass(frozen=True, kw_only=True)
class AttentionMaps:
    """How one token spreads its attention over the patches: each map is non-negative and sums to 1.

    ``layers`` are zero-based, in the order of the axis; ``query`` is the token that looks, 0 the class token.
    """

    maps: Float[np.ndarray, "images layers heads rows columns"]
    layers: tuple[int, ...]
    query: int


def _resolve(model: Backbone, layers: Sequence[int] | None) -> tuple[int, ...]:
    depth = len(model.blocks)
    chosen = range(depth) if layers is None else layers
    for layer in chosen:
        if not -depth <= layer < depth:
            raise ValueError(f"there is no layer {layer}: the model has layers 0 to {depth - 1} (or -1 for the last)")
    if not chosen:
        raise ValueError(f"no layer is chosen: the model has layers 0 to {depth - 1}")
    return tuple(layer % depth for layer in chosen)


def attention_maps(
    model: Backbone,
    images: Float[Tensor, "images channels height width"],
    *,
    layers: Sequence[int] | None = None,
    query: int = 0,
) -> AttentionMaps:
    r"""Attention of one token over the patches of each image, for every head of the chosen layers.

    .. math:: a_{k,i} \propto \exp\bigl(p^{-1/2} \langle U_k^\top z_i, U_k^\top z_\mathrm{query} \rangle\bigr)

    over the patches ``i`` (arXiv 2308.16271, appendix B, with the scale of the released code). The class token's own
    share is dropped and the rest rescaled to sum 1. Only the row of ``query`` is kept of each layer's map, layer by
    layer, and images are taken in batches that bound the memory of a single layer.

    Args:
        images: preprocessed, all of one size; any multiple of the patch.
        layers: zero-based, negative ones count from the last; all unless given.
        query: the token that looks: 0 the class token, 1 the first patch, and so on row by row.

    Raises:
        ValueError: a layer or the query does not exist (the message says which do), or there are no images.
    """
    if not len(images):
        raise ValueError("attention maps need at least one image")
    chosen = _resolve(model, layers)
    height, width = images.shape[-2:]
    rows, columns = model.grid_size(height, width)
    tokens = rows * columns + model.num_prefix_tokens
    if not 0 <= query < tokens:
        raise ValueError(f"there is no token {query}: at {height} x {width} pixels there are tokens 0 to {tokens - 1}")

    def row(attention: Tensor) -> Tensor:
        patches = attention[:, :, query, model.num_prefix_tokens :].float()
        return patches / patches.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)

    patterns = [f"blocks.{layer}.*.attention" for layer in sorted(set(chosen))]
    batch_size = max(1, _MAX_ENTRIES // (model.config.num_heads * tokens**2))
    parts = []
    for batch in images.split(batch_size):
        with frozen(model), record(model, *patterns, reduce=row) as seen:
            model.forward_features(to_model(model, batch))
        by_layer = {int(name.split(".")[1]): values for name, values in seen.items()}
        parts.append(torch.stack([by_layer[layer] for layer in chosen], dim=1).cpu())
    maps = model.patch_grid(torch.cat(parts), height, width).numpy()
    return AttentionMaps(maps=maps, layers=chosen, query=query)
