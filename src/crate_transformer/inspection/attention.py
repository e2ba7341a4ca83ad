"""Attention maps."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crate_transformer.inspection.frozen import frozen, to_model
from crate_transformer.inspection.reader import Reader, reader
from crate_transformer.inspection.record import record
from crate_transformer.layers import AttentionRows

Query = Literal["cls"] | tuple[int, int] | Sequence[tuple[int, int]] | Bool[np.ndarray, "rows columns"]
"""The query: the class token, a patch as (row, column), or a region as a list of patches or a mask of the grid."""

_MAX_ENTRIES = 2**22
"""Entries of attention rows in memory at a time: 16 MiB in float32."""
_MAX_TOKENS = 2**13
"""Largest number of tokens per batch, which bounds the memory of the forward pass."""


@dataclass(frozen=True, kw_only=True)
class AttentionMaps:
    """The attention of a token or a region over the patches; each map is non-negative and sums to 1.

    ``layers`` and ``heads`` are zero-based, in the order of their axes; ``query`` describes the query.
    """

    maps: Float[np.ndarray, "images layers heads rows columns"]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    query: str


def attention_maps(
    model: nn.Module,
    images: Float[Tensor, "images channels height width"],
    *,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    query: Query = "cls",
) -> AttentionMaps:
    r"""Attention of one token, or of a region, over the patches of each image.

    .. math:: a_{k,i} \propto \exp\bigl(p^{-1/2} \langle U_k^\top z_i, U_k^\top z_\mathrm{query} \rangle\bigr)

    over the patches ``i`` (arXiv 2308.16271, appendix B, with the scale of the released code); for a ViT, with its
    queries and keys. The map of a region is the mean of the maps of its patches. Only the requested rows are computed,
    a few at a time, from the projections: the model uses its fused attention, and no tokens x tokens map is formed.
    Families with other attention rows define them, see ``layers.AttentionRows``.

    Args:
        model: a model of this package, or a plain ViT of timm or transformers.
        images: preprocessed images of one size, any multiple of the patch size that the model accepts.
        layers: zero-based, negative ones count from the end; default: all.
        heads: zero-based, negative ones count from the end; default: all.
        query: ``"cls"`` for the class token, ``(row, column)`` for a patch; a region as a list of such pairs or as a
            mask of the token grid.

    Raises:
        ValueError: a layer, head or patch does not exist (the message says which do), the region is empty, there are
            no images, or the attention of the model does not compare tokens.
    """
    if not len(images):
        raise ValueError("attention maps need at least one image")
    source = reader(model)
    chosen, chosen_heads = source.choose_layers(layers), source.choose_heads(heads)
    rows, columns = source.grid(*images.shape[-2:])
    tokens, who = query_tokens(query, source, rows, columns)
    parts = []
    for batch in images.split(max(1, _MAX_TOKENS // max(1, rows * columns))):
        by_layer = _read_layers(source, batch, chosen, chosen_heads, tokens)
        parts.append(torch.stack([by_layer[layer] for layer in chosen], dim=1).cpu())
    maps = rearrange(torch.cat(parts), "i l h (r c) -> i l h r c", r=rows).numpy()
    return AttentionMaps(maps=maps, layers=chosen, heads=chosen_heads, query=who)


def query_tokens(query: Query, source: Reader, rows: int, columns: int) -> tuple[list[int], str]:
    """The positions of the query tokens, and a description of the query."""
    if isinstance(query, str):
        if query != "cls" or not source.has_class_token:
            why = "the model has no class token" if query == "cls" else f"query is {query!r}"
            raise ValueError(f"{why}: give a patch as (row, column), a list of patches, or a mask of the token grid")
        return [0], "class token"
    asked = np.asarray(query)
    if asked.dtype == bool:
        if asked.shape != (rows, columns):
            raise ValueError(f"the region is a mask of {asked.shape}, but the token grid is {rows} x {columns}")
        asked = np.argwhere(asked)
    single = asked.shape == (2,)
    asked = asked.reshape(-1, 2) if asked.size else asked.reshape(0, 2)
    if not len(asked):
        raise ValueError("the region is empty: give at least one patch")
    for row, column in asked.tolist():
        if not (0 <= row < rows and 0 <= column < columns):
            raise ValueError(
                f"there is no patch {(row, column)}: rows go from 0 to {rows - 1}, columns from 0 to {columns - 1}"
            )
    who = f"patch ({asked[0, 0]}, {asked[0, 1]})" if single else f"region of {len(asked)} patches"
    return (source.num_prefix_tokens + asked[:, 0] * columns + asked[:, 1]).tolist(), who


def _read_layers(
    source: Reader, images: Tensor, layers: Sequence[int], heads: Sequence[int], tokens: list[int]
) -> dict[int, Tensor]:
    """For each layer the mean map ``(images, heads, patches)`` of the query tokens, computed while the model runs."""
    held: defaultdict[int, dict[str, Tensor]] = defaultdict(dict)
    maps: dict[int, Tensor] = {}

    def collect(layer: int, name: str, projected: Tensor) -> Tensor:
        rows = source.layers[layer]
        split = by_head(projected, source.num_heads)[:, heads]
        source.check_tokens(split.shape[2], source.grid(*images.shape[-2:]))
        if name == rows.query:
            held[layer]["queries"] = split[:, :, tokens]
        if name == rows.key:
            held[layer]["keys"] = split[:, :, source.num_prefix_tokens :]
        if len(held[layer]) == 2:
            maps[layer] = mean_rows(rows, **held.pop(layer))
        return projected.new_empty(0)

    with frozen(source.model), ExitStack() as recording:
        for layer in set(layers):
            for name in {source.layers[layer].query, source.layers[layer].key}:
                recording.enter_context(record(source.model, name, reduce=partial(collect, layer, name)))
        source.run(to_model(source.model, images), max(layers))
    return maps


def by_head(projected: Tensor, num_heads: int) -> Tensor:
    """``(batch, heads, tokens, head_dim)``, from either of the two usual output shapes of a module."""
    if projected.ndim == 4:
        return projected
    return rearrange(projected, "b n (h p) -> b h n p", h=num_heads)


def mean_rows(
    rows: AttentionRows,
    queries: Float[Tensor, "batch heads queries head_dim"],
    keys: Float[Tensor, "batch heads patches head_dim"],
    weights: Float[Tensor, "batch heads queries"] | None = None,
) -> Float[Tensor, "batch heads patches"]:
    """The mean, or the weighted sum, of the attention rows of the queries, computed a bounded number at a time."""
    dtype = torch.promote_types(queries.dtype, torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = queries.to(dtype), keys.to(dtype)
        weights = queries.new_full(queries.shape[:3], 1 / queries.shape[2]) if weights is None else weights
        total = keys.new_zeros(keys.shape[:3])
        step = max(1, _MAX_ENTRIES // total.numel())
        for some, share in zip(queries.split(step, dim=2), weights.split(step, dim=2), strict=True):
            total += (share[:, :, None] @ rows(some, keys))[:, :, 0]
        return total
