"""Samples of a data set."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from matplotlib.figure import Figure

from crate_transformer.reports.montage import Montage, resize
from crate_transformer.reports.style import styled

COLUMNS = 8


@styled
def samples_figure(
    images: UInt8[np.ndarray, "images height width 3"],
    labels: Sequence[str],
    masks: Bool[np.ndarray, "images mask_height mask_width"] | None = None,
    *,
    title: str = "",
) -> Figure:
    """A contact sheet in reading order, with the label under each image and its mask, if given, outlined."""
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    sheet = Montage(rows, columns, images.shape[1:3], caption_lines=2 if max(map(len, labels)) > 12 else 1)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = divmod(index, columns)
        sheet.draw(*place, resize(image, sheet.side))
        if masks is not None:
            sheet.outline(*place, masks[index])
        sheet.caption(*place, label)
    return sheet.finish(title)
