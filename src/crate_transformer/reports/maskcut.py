"""The objects found by MaskCut, outlined on the images."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from crate_transformer.inspection import MaskCut
from crate_transformer.reports.montage import Montage, overlay, resize
from crate_transformer.reports.style import COLOURS, OUTLINE, styled

_LINES = ((OUTLINE, "solid"), ("#56B4E9", "dashed"), ("#E69F00", "dotted"))
"""Colours of Okabe and Ito; the dashes differ too."""
_LETTERS = 16  # of the longest caption
_NOTE = (
    "Colour map: the eigenvector of each cut, bright towards the object; \N{GREEK SMALL LETTER LAMDA}: its eigenvalue, "
    "0 for a clear cut and 1 for no cut."
)


@styled
def maskcut_figure(
    images: UInt8[np.ndarray, "images height width 3"],
    cuts: MaskCut,
    titles: Sequence[str] | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """One row per image: the image with all masks outlined, then each object over the eigenvector of its cut.

    Args:
        images: the images given to MaskCut, in the same order.
        titles: text to the left of each row.
        title: default: layer and tau.
    """
    if len(images) != len(cuts.masks):
        raise ValueError(f"there are {len(images)} images but masks of {len(cuts.masks)} images")
    objects = cuts.masks.shape[1]
    shape = {"shape": images.shape[1:3], "row_labels": titles or ()}
    lines = 1 if Montage(len(images), 1 + objects, **shape).letters >= _LETTERS else 2
    pictures = Montage(len(images), 1 + objects, **shape, caption_lines=lines)
    pictures.column_label(0, "image")
    for number in range(objects):
        pictures.column_label(1 + number, f"object {number + 1}")
    for row, image in enumerate(images):
        pictures.draw(row, 0, resize(image, pictures.side))
        if cuts.nothing_found[row]:
            pictures.caption(row, 0, "nothing found")
        for number in range(objects):
            colour, dash = _LINES[number] if number < len(_LINES) else (COLOURS[number % len(COLOURS)], "dashdot")
            mask = cuts.masks[row, number]
            pictures.draw(row, 1 + number, overlay(image, cuts.eigenvectors[row, number], pictures.side))
            for column in (0, 1 + number):
                pictures.outline(row, column, mask, colour=colour, dash=dash)
            status, value = cuts.statuses[row][number], cuts.eigenvalues[row, number]
            no_cut = status in ("uncut", "blank")
            pictures.caption(
                row, 1 + number, status if no_cut else f"{status}, \N{GREEK SMALL LETTER LAMDA} {value:.2f}"
            )
    return pictures.finish(title or f"MaskCut on layer {cuts.layer}, \N{GREEK SMALL LETTER TAU} {cuts.tau:g}", _NOTE)
