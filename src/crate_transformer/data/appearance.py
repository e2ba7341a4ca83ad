"""Random changes of colours, sharpness and parts of a picture."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from crate_transformer.configs import AugmentConfig
from crate_transformer.models.preprocessing import Preprocessing

_SMALLEST, _LARGEST, _LONGEST = 0.02, 1 / 3, 0.3  # of an erased rectangle: areas, and its shorter side by its longer
_FACTORS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def change_colours(image: Image.Image, config: AugmentConfig, random: np.random.Generator) -> Image.Image:
    """An RGB picture after colour jitter, loss of colours, blur and solarisation, each with its probability."""
    if config.colour_jitter and random.random() < config.colour_jitter_probability:
        for kind in random.permutation(len(_FACTORS)):
            factor = 1 + config.colour_jitter * random.uniform(-1, 1)
            image = _FACTORS[kind](image).enhance(factor)
    if random.random() < config.grayscale:
        image = image.convert("L").convert("RGB")
    if random.random() < config.blur:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2)))
    if random.random() < config.solarise:
        image = ImageOps.solarize(image, 128)
    return image


def erase(
    pixels: UInt8[np.ndarray, "3 height width"], preprocessing: Preprocessing, random: np.random.Generator
) -> None:
    """Put noise of the data's mean and spread into a random rectangle (arXiv 1708.04896), in place."""
    _, height, width = pixels.shape
    area = random.uniform(_SMALLEST, _LARGEST) * height * width
    ratio = np.exp(random.uniform(-1, 1) * np.log(_LONGEST))
    rows = min(height, max(1, round((area * ratio) ** 0.5)))
    columns = min(width, max(1, round((area / ratio) ** 0.5)))
    top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
    mean, std = (255 * np.float32(values).reshape(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    noise = mean + std * random.standard_normal((3, rows, columns), dtype=np.float32)
    pixels[:, top : top + rows, left : left + columns] = noise.round().clip(0, 255)
