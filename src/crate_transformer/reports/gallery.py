"""Heads and animals: photographs beside the map of a head and what it marks."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from PIL import Image

from crate_transformer.reports.montage import Montage, cut_out, overlay, resample, resize
from crate_transformer.reports.style import styled

DARKEST, BRIGHTEST = 0.02, 0.97  # of the values of a map
LARGEST = 2.6  # inches


@styled
def gallery_figure(
    images: UInt8[np.ndarray, "images height width 3"],
    maps: Float[np.ndarray, "images rows columns"],
    fraction: float,
    *,
    title: str = "",
    note: str = "",
) -> Figure:
    """A column for each image: the image, the map over it, and the image inside the largest ``fraction`` of the map."""
    labels = ("photograph", "attention\nof the head", "what the\nhead marks")
    pictures = Montage(3, len(images), images.shape[1:3], row_labels=labels, largest=LARGEST)
    for column, (image, heat) in enumerate(zip(images, maps, strict=True)):
        mask = largest_part(heat, fraction, images.shape[1:3])
        pictures.draw(0, column, resize(image, pictures.side))
        pictures.draw(1, column, overlay(image, heat, pictures.side, _limits(heat)))
        pictures.draw(2, column, cut_out(image, mask, pictures.side))
        pictures.outline(2, column, mask, strong=False)
    return pictures.finish(title, note)


@styled
def heads_and_animals_figure(
    images: UInt8[np.ndarray, "images height width 3"],
    maps: Float[np.ndarray, "heads images rows columns"],
    names: Sequence[str],
    *,
    title: str = "",
    note: str = "",
) -> Figure:
    """A row for each image: the image, and the map of every head over it."""
    pictures = Montage(len(images), 1 + len(maps), images.shape[1:3], largest=LARGEST)
    for column, text in enumerate(("photograph", *names)):
        pictures.column_label(column, text)
    for row, image in enumerate(images):
        pictures.draw(row, 0, resize(image, pictures.side))
        for column, heats in enumerate(maps, start=1):
            pictures.draw(row, column, overlay(image, heats[row], pictures.side, _limits(heats[row])))
    return pictures.finish(title, note)


@styled
def parts_figure(
    images: UInt8[np.ndarray, "images height width 3"],
    maps: Float[np.ndarray, "images rows columns"],
    points: Float[np.ndarray, "images 2"] | None,
    regions: Bool[np.ndarray, "images height width"] | None,
    *,
    title: str = "",
    note: str = "",
) -> Figure:
    """A column for each image: the image with its part, as a cross or an outline, and the map with a circle at the
    strongest patch."""
    pictures = Montage(
        2, len(images), images.shape[1:3], row_labels=("the part", "attention\nof the head"), largest=LARGEST
    )
    for column, (image, heat) in enumerate(zip(images, maps, strict=True)):
        pictures.draw(0, column, resize(image, pictures.side))
        pictures.draw(1, column, overlay(image, heat, pictures.side))
        top, left = np.unravel_index(heat.argmax(), heat.shape)
        for row in (0, 1):
            if points is not None:
                across, down = points[column] / (image.shape[1], image.shape[0])
                pictures.mark(row, column, across, down, "x")
            if regions is not None:
                pictures.outline(row, column, regions[column], strong=False)
        pictures.mark(1, column, (left + 0.5) / heat.shape[1], (top + 0.5) / heat.shape[0], "o")
    return pictures.finish(title, note)


def largest_part(heat: Float[np.ndarray, "rows columns"], fraction: float, size: tuple[int, int]) -> np.ndarray:
    """The largest ``fraction`` of an interpolated map."""
    smooth = resample(heat.astype(np.float32), size[::-1], Image.Resampling.BICUBIC)
    return smooth >= np.quantile(smooth, 1 - fraction)


def _limits(heat: Float[np.ndarray, "rows columns"]) -> tuple[float, float]:
    """The values shown darkest and brightest: without the few extreme ones, so that the shape is seen."""
    return float(np.quantile(heat, DARKEST)), float(np.quantile(heat, BRIGHTEST))
