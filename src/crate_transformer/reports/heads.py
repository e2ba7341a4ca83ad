"""The map of every head: across images, and across layers."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from crate_transformer.reports.attention import SCALE_NOTE
from crate_transformer.reports.montage import Montage, overlay, resize
from crate_transformer.reports.style import styled


@styled
def heads_figure(
    images: UInt8[np.ndarray, "images height width 3"],
    maps: Float[np.ndarray, "images heads rows columns"],
    title: str = "Attention of each head",
    labels: Sequence[str] | None = None,
) -> Figure:
    """One column per image, one row per head, with the images at the top.

    Args:
        labels: labels of the heads; default: "head 0" and so on.
    """
    heads = maps.shape[1]
    names = labels or [f"head {head}" for head in range(heads)]
    pictures = Montage(1 + heads, len(images), images.shape[1:3], row_labels=["image", *names])
    for column, image in enumerate(images):
        pictures.draw(0, column, resize(image, pictures.side))
        for head in range(heads):
            pictures.draw(1 + head, column, overlay(image, maps[column, head], pictures.side))
    return pictures.finish(title, SCALE_NOTE)


@styled
def layers_figure(
    image: UInt8[np.ndarray, "height width 3"],
    maps: Float[np.ndarray, "layers heads rows columns"],
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    title: str = "Every layer and head",
) -> Figure:
    """One row per layer and one column per head, for one image, which is shown at the left of the first row.

    Args:
        layers: layer numbers, such as ``AttentionMaps.layers``; default: counted from 0.
        heads: head numbers; default: counted from 0.
    """
    numbers = range(len(maps)) if layers is None else layers
    names = [f"layer {number}" for number in numbers]
    columns = range(maps.shape[1]) if heads is None else heads
    pictures = Montage(len(maps), 1 + maps.shape[1], image.shape[:2], row_labels=names)
    pictures.column_label(0, "image")
    for column, head in enumerate(columns, start=1):
        pictures.column_label(column, f"head {head}")
    pictures.draw(0, 0, resize(image, pictures.side))
    for row, layer_maps in enumerate(maps):
        for head, heat in enumerate(layer_maps):
            pictures.draw(row, 1 + head, overlay(image, heat, pictures.side))
    return pictures.finish(title, SCALE_NOTE)
