"""From an image to a model's input: the exact evaluation geometry."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from crate_transformer.models.preprocessing import Preprocessing

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
MAX_ASPECT = 16
"""Largest aspect ratio; longer images are reduced to their middle, see ``middle``."""


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> Float[Tensor, "3 height width"]:
    """The evaluation preprocessing of one RGB image: resize, centre crop, scale, normalise."""
    fitted = resize_crop(
        image, preprocessing.img_size, crop_pct=preprocessing.crop_pct, interpolation=preprocessing.interpolation
    )
    return normalise(pixels(fitted), preprocessing)


def resize_crop(
    image: Image.Image,
    size: tuple[int, int],
    *,
    crop_pct: float = 1.0,
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear",
) -> Image.Image:
    """Resize until the image just covers ``size / crop_pct``, and crop ``size`` (height, width) from its centre.

    For a square size this is the published geometry: short side ``s = int(size / crop_pct)``, long side
    ``int(s * long / short)``, Pillow's antialiased resampling, offsets ``int(round(excess / 2))``. Images more than 16
    times as long as wide are first reduced to their middle.
    """
    image = middle(image)
    columns, rows, left, top = crop_geometry(image.size, size, crop_pct)
    resized = image.resize((columns, rows), _RESAMPLING[interpolation])
    return resized.crop((left, top, left + size[1], top + size[0]))


def crop_geometry(
    image_size: tuple[int, int], size: tuple[int, int], crop_pct: float = 1.0
) -> tuple[int, int, int, int]:
    """Width and height of an image (width, height) after the resize of ``resize_crop``, and left and top edge of the
    crop in it."""
    width, height = image_size
    rows, columns = (int(side / crop_pct) for side in size)
    if columns * height >= rows * width:
        rows = columns * height // width
    else:
        columns = rows * width // height
    return columns, rows, round((columns - size[1]) / 2), round((rows - size[0]) / 2)


def middle(image: Image.Image) -> Image.Image:
    """The middle of an image that is more than 16 times as long as wide; any other image unchanged."""
    width, height = image.size
    longest = MAX_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
    return image.crop((left, top, left + min(width, longest), top + min(height, longest)))


def pixels(image: Image.Image) -> UInt8[Tensor, "3 height width"]:
    """The bytes of an RGB image, channels first."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def normalise(
    images: UInt8[Tensor, "*batch 3 height width"], preprocessing: Preprocessing
) -> Float[Tensor, "*batch 3 height width"]:
    """``(x / 255 - mean) / std`` per channel, from bytes."""
    return _normalise_(images.float(), preprocessing)


def _normalise_(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return images.div_(255).sub_(mean).div_(std)
