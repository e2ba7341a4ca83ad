"""What a masked autoencoder saw, and what it made of it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from matplotlib.figure import Figure
from PIL import Image

from crate_transformer.reports.montage import Montage, resample, resize
from crate_transformer.reports.style import styled

HIDDEN = 128  # the grey of hidden patches


@styled
def reconstruction_figure(
    images: UInt8[np.ndarray, "images height width 3"],
    masks: Bool[np.ndarray, "images rows columns"],
    reconstructions: UInt8[np.ndarray, "images height width 3"],
    titles: Sequence[str] | None = None,
    *,
    title: str = "Filling in hidden patches",
) -> Figure:
    """One row for each image: the picture, what the model saw of it, and its reconstruction.

    Args:
        masks: true for the patches that were hidden.
        reconstructions: the pictures with the prediction in place of hidden patches.
        titles: a text at the left of each row.
    """
    pictures = Montage(len(images), 3, images.shape[1:3], row_labels=titles or ())
    for column, name in enumerate(("picture", f"seen ({1 - masks.mean():.0%})", "reconstruction")):
        pictures.column_label(column, name)
    for row, (image, mask, filled) in enumerate(zip(images, masks, reconstructions, strict=True)):
        hidden = resample(mask.astype(np.float32), image.shape[1::-1], Image.Resampling.NEAREST) > 0
        seen = np.where(hidden[..., None], np.uint8(HIDDEN), image)
        for column, picture in enumerate((image, seen, filled)):
            pictures.draw(row, column, resize(picture, pictures.side))
    note = "Grey patches were hidden; the other patches of the reconstruction are the picture itself."
    return pictures.finish(title, note)
