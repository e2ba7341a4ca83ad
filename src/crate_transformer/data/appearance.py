"""Colour, blur and erasing augmentations."""

from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from crate_transformer.configs import AugmentConfig
from crate_transformer.models.preprocessing import Preprocessing

_SMALLEST, _LARGEST, _LONGEST = 0.02, 1 / 3, 0.3  # of an erased rectangle: areas, and its shorter side by its longer
_CIRCLE = 255  # steps of Pillow's hue


def change_colours(image: Image.Image, config: AugmentConfig, random: np.random.Generator) -> Image.Image:
    """Apply colour jitter, greyscale, blur and solarisation to an RGB image, each with its probability."""
    jitters = _jitters(config)
    if jitters and random.random() < config.colour_jitter_probability:
        for number in random.permutation(len(jitters)):
            jitter, most = jitters[number]
            image = jitter(image, most * random.uniform(-1, 1))
    if random.random() < config.grayscale:
        image = image.convert("L").convert("RGB")
    if random.random() < config.blur:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, config.blur_radius)))
    if random.random() < config.solarise:
        image = ImageOps.solarize(image, 128)
    return image


def _jitters(config: AugmentConfig) -> list[tuple[Callable[[Image.Image, float], Image.Image], float]]:
    """The enabled colour jitters, each with its largest amount."""
    saturation = config.colour_jitter if config.saturation is None else config.saturation
    found = [
        (lambda image, by: ImageEnhance.Brightness(image).enhance(1 + by), config.colour_jitter),
        (lambda image, by: ImageEnhance.Contrast(image).enhance(1 + by), config.colour_jitter),
        (lambda image, by: ImageEnhance.Color(image).enhance(1 + by), saturation),
        (_turn_hue, config.hue),
    ]
    return [(jitter, most) for jitter, most in found if most]


def _turn_hue(image: Image.Image, by: float) -> Image.Image:
    """An RGB image with its hue shifted by a fraction of the colour circle."""
    hue, saturation, value = image.convert("HSV").split()
    turned = hue.point([(level + round(_CIRCLE * by)) % _CIRCLE for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def erase(
    pixels: UInt8[np.ndarray, "3 height width"], preprocessing: Preprocessing, random: np.random.Generator
) -> None:
    """Random erasing (arXiv 1708.04896), in place: fill a random rectangle with noise of the data's mean and standard
    deviation."""
    _, height, width = pixels.shape
    area = random.uniform(_SMALLEST, _LARGEST) * height * width
    ratio = np.exp(random.uniform(-1, 1) * np.log(_LONGEST))
    rows = min(height, max(1, round((area * ratio) ** 0.5)))
    columns = min(width, max(1, round((area / ratio) ** 0.5)))
    top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
    mean, std = (
        255 * np.asarray(values, np.float32).reshape(3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    noise = mean + std * random.standard_normal((3, rows, columns), dtype=np.float32)
    pixels[:, top : top + rows, left : left + columns] = noise.round().clip(0, 255)
