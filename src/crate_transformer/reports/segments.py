"""Masks as images: one label per pixel, and overlays on the photograph."""

import numpy as np
from jaxtyping import Bool, UInt8
from matplotlib.colors import hsv_to_rgb, to_rgb
from PIL import Image

from crate_transformer.reports.style import COLOURS

_GOLDEN = (5**0.5 - 1) / 2  # hues at multiples of it are far from each other
_OTHERS = [hsv_to_rgb((n * _GOLDEN % 1, (0.9, 0.5)[n % 2], (0.95, 0.65)[n // 2 % 2])) for n in range(250)]
PALETTE = np.round(255 * np.array([(0, 0, 0), *map(to_rgb, COLOURS[:-1]), *_OTHERS])[:256]).astype(np.uint8)
"""The colour of every label; black is the background."""


def label_picture(masks: Bool[np.ndarray, "objects height width"]) -> Image.Image:
    """A palette image: 0 outside all masks, 1 on the first object, and so on; earlier objects are on top."""
    labels = np.zeros(masks.shape[1:], dtype=np.uint8)
    for number in range(len(masks), 0, -1):
        labels[masks[number - 1]] = number
    return class_picture(labels)


def class_picture(labels: UInt8[np.ndarray, "height width"]) -> Image.Image:
    """The labels as a palette image."""
    picture = Image.fromarray(labels)
    picture.putpalette(PALETTE.ravel().tolist())
    return picture


def masks_over(
    image: UInt8[np.ndarray, "height width 3"], masks: Bool[np.ndarray, "objects height width"]
) -> Image.Image:
    """The photograph with each object tinted in its own colour, a white edge, and the rest darkened."""
    shown = np.where(np.any(masks, axis=0)[..., None], image, 0.45 * image)
    for number in range(len(masks), 0, -1):
        mask = masks[number - 1]
        shown[mask] = 0.6 * image[mask] + 0.4 * PALETTE[number]
        inside = np.pad(mask, 1, constant_values=False)
        inner = inside[2:, 1:-1] & inside[:-2, 1:-1] & inside[1:-1, 2:] & inside[1:-1, :-2]
        shown[mask & ~inner] = 255
    return Image.fromarray(shown.round().astype(np.uint8))


def classes_over(image: UInt8[np.ndarray, "height width 3"], labels: UInt8[np.ndarray, "height width"]) -> Image.Image:
    """The photograph with each class tinted in its colour, the background darkened, and white borders."""
    shown = (0.6 * image.astype(np.float32) + 0.4 * PALETTE[labels]).round().astype(np.uint8)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    shown[:, 1:][across] = 255
    shown[1:][down] = 255
    return Image.fromarray(shown)
