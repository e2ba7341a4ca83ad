"""Object masks as images: one label per pixel, and overlays on the photograph."""

import numpy as np
from jaxtyping import Bool, UInt8
from matplotlib.colors import to_rgb
from PIL import Image

from crate_transformer.reports.style import COLOURS

_PALETTE = [0, 0, 0, *(round(255 * part) for colour in COLOURS[:-1] for part in to_rgb(colour))]


def label_picture(masks: Bool[np.ndarray, "objects height width"]) -> Image.Image:
    """A palette image: 0 outside all masks, 1 on the first object, and so on; earlier objects are on top."""
    labels = np.zeros(masks.shape[1:], dtype=np.uint8)
    for number in range(len(masks), 0, -1):
        labels[masks[number - 1]] = number
    picture = Image.fromarray(labels)
    picture.putpalette(_PALETTE)
    return picture


def masks_over(
    image: UInt8[np.ndarray, "height width 3"], masks: Bool[np.ndarray, "objects height width"]
) -> Image.Image:
    """The photograph with each object tinted in its own colour, a white edge, and the rest darkened."""
    shown = np.where(np.any(masks, axis=0)[..., None], image, 0.45 * image)
    for number in range(len(masks), 0, -1):
        mask = masks[number - 1]
        tint = 255 * np.array(to_rgb(COLOURS[(number - 1) % (len(COLOURS) - 1)]))
        shown[mask] = 0.6 * image[mask] + 0.4 * tint
        inside = np.pad(mask, 1, constant_values=False)
        inner = inside[2:, 1:-1] & inside[:-2, 1:-1] & inside[1:-1, 2:] & inside[1:-1, :-2]
        shown[mask & ~inner] = 255
    return Image.fromarray(shown.round().astype(np.uint8))
