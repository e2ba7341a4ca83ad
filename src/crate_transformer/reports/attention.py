"""Attention maps over the images."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure

from crate_transformer.reports.montage import Montage, cut_out, overlay, resize
from crate_transformer.reports.style import styled

SCALE_NOTE = "Each map is scaled from its smallest value (dark) to its largest (bright)."


@styled
def attention_figure(
    images: UInt8[np.ndarray, "images height width 3"],
    maps: Mapping[str, Float[np.ndarray, "images _rows _columns"]],
    masks: Bool[np.ndarray, "images mask_height mask_width"] | None = None,
    titles: Sequence[str] | None = None,
    *,
    title: str = "Attention of the class token",
) -> Figure:
    """One row per image: the image, and one map per name over it; the maps may differ in resolution.

    Args:
        masks: outlined on the image and, thinner, on the maps.
        titles: text to the left of each row, such as the label and the prediction.
    """
    pictures = Montage(len(images), 1 + len(maps), images.shape[1:3], row_labels=titles or ())
    pictures.column_label(0, "image" if masks is None else "image and mask")
    for column, name in enumerate(maps, start=1):
        pictures.column_label(column, name)
    for row, image in enumerate(images):
        pictures.draw(row, 0, resize(image, pictures.side))
        for column, heats in enumerate(maps.values(), start=1):
            pictures.draw(row, column, overlay(image, heats[row], pictures.side))
        if masks is not None:
            for column in range(1 + len(maps)):
                pictures.outline(row, column, masks[row], strong=column == 0)
    return pictures.finish(title, SCALE_NOTE)


@styled
def mask_figure(
    image: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "rows columns"], title: str = ""
) -> Figure:
    """The image, and beside it the image with the mask outlined and everything outside in dark grey."""
    pictures = Montage(1, 2, image.shape[:2], largest=2.7)
    pictures.draw(0, 0, resize(image, pictures.side))
    pictures.draw(0, 1, cut_out(image, mask, pictures.side))
    pictures.outline(0, 1, mask)
    return pictures.finish(title)
