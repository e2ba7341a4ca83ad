"""Inputs and reconstructions of a masked autoencoder."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from matplotlib.figure import Figure
from PIL import Image

from crate_transformer.reports.montage import Montage, resample, resize
from crate_transformer.reports.style import styled

HIDDEN = 128  # the grey of masked patches


@styled
def reconstruction_figure(
    images: UInt8[np.ndarray, "images height width 3"],
    masks: Bool[np.ndarray, "images rows columns"],
    reconstructions: UInt8[np.ndarray, "images height width 3"],
    titles: Sequence[str] | None = None,
    *,
    title: str = "Reconstruction of masked patches",
) -> Figure:
    """One row per image: the image, the masked input, and the reconstruction.

    Args:
        masks: true for masked patches.
        reconstructions: the images with the prediction in place of the masked patches.
        titles: text to the left of each row.
    """
    pictures = Montage(len(images), 3, images.shape[1:3], row_labels=titles or ())
    for column, name in enumerate(("image", f"visible ({1 - masks.mean():.0%})", "reconstruction")):
        pictures.column_label(column, name)
    for row, (image, mask, filled) in enumerate(zip(images, masks, reconstructions, strict=True)):
        hidden = resample(mask.astype(np.float32), image.shape[1::-1], Image.Resampling.NEAREST) > 0
        seen = np.where(hidden[..., None], np.uint8(HIDDEN), image)
        for column, picture in enumerate((image, seen, filled)):
            pictures.draw(row, column, resize(picture, pictures.side))
    note = "Grey patches were masked; in the reconstruction, visible patches are copied from the image."
    return pictures.finish(title, note)
