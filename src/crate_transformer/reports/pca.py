"""Principal components of the patch features, as images."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image

from crate_transformer.inspection import FeaturePCA
from crate_transformer.reports.montage import Montage, darken, overlay, resize
from crate_transformer.reports.style import styled


@styled
def pca_figure(
    images: UInt8[np.ndarray, "images height width 3"],
    pca: FeaturePCA,
    titles: Sequence[str] | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """One column per image: the image, the first component over it, and the foreground in three components.

    Args:
        images: the images that were analysed, in the same order.
        titles: text above each column.
        title: default: the layer.
    """
    if len(images) != len(pca.first):
        raise ValueError(f"there are {len(images)} images but components of {len(pca.first)} images")
    labels = ("image", "first\ncomponent", "components\n1 to 3")
    pictures = Montage(3, len(images), images.shape[1:3], row_labels=labels, caption_lines=1)
    for column, image in enumerate(images):
        if titles:
            pictures.column_label(column, titles[column])
        pictures.draw(0, column, resize(image, pictures.side))
        pictures.draw(1, column, overlay(image, pca.first[column], pictures.side, limits=(0.0, 1.0)))
        if pca.background_removed:
            pictures.outline(1, column, pca.foreground[column], strong=False)
        pictures.draw(2, column, _coloured(image, pca, column, pictures.side))
        if pca.nothing_found[column]:
            pictures.caption(2, column, "nothing found")
    of_what = "the foreground (outlined)" if pca.background_removed else "all patches"
    fractions = ", ".join(f"{fraction:.0%}" for fraction in pca.colour_fractions)
    note = (
        f"First component: {pca.first_fraction:.0%} of the variance of the features of all images, on one scale for "
        f"all. Red, green, blue: components 1 to 3 of {of_what}, {fractions} of the variance."
    )
    return pictures.finish(title or f"Principal components of the features of layer {pca.layer}", note)


def _coloured(
    image: UInt8[np.ndarray, "height width 3"], pca: FeaturePCA, column: int, side: int
) -> UInt8[np.ndarray, "tile_height tile_width 3"]:
    """Each foreground patch as a block of its colour, everything else the image in dark grey."""
    picture = resize(image, side)
    size = picture.shape[1::-1]
    colours = Image.fromarray((255 * pca.colours[column]).round().astype(np.uint8))
    colours = colours.resize(size, Image.Resampling.NEAREST)
    inside = Image.fromarray(pca.foreground[column]).resize(size, Image.Resampling.NEAREST)
    return np.where(np.asarray(inside)[..., None], np.asarray(colours), darken(picture))
