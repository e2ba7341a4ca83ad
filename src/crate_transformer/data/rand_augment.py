"""RandAugment (arXiv 1909.13719): a few random operations on each image, all with the same strength."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Colour = tuple[int, int, int]
Operation = Callable[[Image.Image, float, Colour], Image.Image]


def rand_augment(
    image: Image.Image, operations: int, strength: float, random: np.random.Generator, fill: Colour
) -> Image.Image:
    """Apply a number of random ``OPERATIONS`` to an RGB image, each with a random sign if it has two directions.

    Args:
        strength: From 0 to 1; at 0 most operations do not change the image.
        fill: Colour of pixels from outside the image.
    """
    table = tuple(OPERATIONS.values())
    for _ in range(operations):
        sign = 1 if random.random() < 0.5 else -1
        image = table[random.integers(len(table))](image, sign * strength, fill)
    return image


def _affine(
    image: Image.Image, fill: Colour, *, xy: float = 0.0, yx: float = 0.0, x: float = 0.0, y: float = 0.0
) -> Image.Image:
    """Pixel (i, j) comes from (i + xy j + x, j + yx i + y)."""
    matrix = (1, xy, x, yx, 1, y)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill)


def _enhance(kind: type) -> Operation:
    return lambda image, strength, fill: kind(image).enhance(1 + 0.9 * strength)


OPERATIONS: dict[str, Operation] = {
    "identity": lambda image, s, fill: image,
    "shear_x": lambda image, s, fill: _affine(image, fill, xy=0.3 * s, x=-0.15 * s * image.height),
    "shear_y": lambda image, s, fill: _affine(image, fill, yx=0.3 * s, y=-0.15 * s * image.width),
    "translate_x": lambda image, s, fill: _affine(image, fill, x=0.45 * s * image.width),
    "translate_y": lambda image, s, fill: _affine(image, fill, y=0.45 * s * image.height),
    "rotate": lambda image, s, fill: image.rotate(30 * s, Image.Resampling.BILINEAR, fillcolor=fill),
    "brightness": _enhance(ImageEnhance.Brightness),
    "color": _enhance(ImageEnhance.Color),
    "contrast": _enhance(ImageEnhance.Contrast),
    "sharpness": _enhance(ImageEnhance.Sharpness),
    "posterize": lambda image, s, fill: ImageOps.posterize(image, 8 - round(4 * abs(s))),
    "solarize": lambda image, s, fill: ImageOps.solarize(image, round(256 * (1 - abs(s)))),
    "autocontrast": lambda image, s, fill: ImageOps.autocontrast(image),
    "equalize": lambda image, s, fill: ImageOps.equalize(image),
}
"""Functions of image, signed strength and fill; ranges as in AutoAugment (arXiv 1805.09501), posterize to 4 bits."""
