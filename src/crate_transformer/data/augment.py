"""Views: crops and augmentations of an image for training and evaluation, as bytes.

All random numbers come from the generator passed in, one per sample.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from crate_transformer.configs import AugmentConfig, MultiCropConfig
from crate_transformer.data.appearance import change_colours, erase
from crate_transformer.data.arrays import ArrayImages
from crate_transformer.data.rand_augment import rand_augment
from crate_transformer.data.transforms import pixels, resize_crop
from crate_transformer.models.preprocessing import Preprocessing

Size = tuple[int, int]
"""Height and width in pixels."""
_SPARE = 1.25  # a JPEG decoded at reduced size has at least this many pixels per output pixel (docs/performance.md)


@runtime_checkable
class Readable(Protocol):
    """The part of a source that a view needs."""

    def read(self, index: int, at_least: Callable[[int, int], tuple[float, float]] | None = None) -> Image.Image: ...


@dataclass(frozen=True)
class EvalView:
    """The evaluation view: resized and centre-cropped."""

    preprocessing: Preprocessing

    def __call__(
        self, source: Readable, index: int, random: np.random.Generator | None, size: Size
    ) -> dict[str, UInt8[Tensor, "3 height width"]]:
        return {"images": _centre(source, index, self.preprocessing, size)}


@dataclass(frozen=True)
class TrainView:
    """The training view: a random crop with augmentation; with ``min_area`` 1, cropped as in evaluation."""

    config: AugmentConfig
    preprocessing: Preprocessing

    def __call__(
        self, source: Readable, index: int, random: np.random.Generator, size: Size
    ) -> dict[str, UInt8[Tensor, "3 height width"]]:
        if self.config.crops:
            crop = Crop.draw(self.config, random, size)
            found = crop.cut(source.read(index, crop.at_least), self.preprocessing)
        else:
            found = _centre(source, index, self.preprocessing, size)
        return {"images": change(found, self.config, self.preprocessing, random)}


@dataclass(frozen=True)
class MultiCropView:
    """Two global and several local crops of an image, which is decoded once."""

    config: MultiCropConfig
    preprocessing: Preprocessing

    def __call__(
        self, source: Readable, index: int, random: np.random.Generator, size: Size
    ) -> dict[str, UInt8[Tensor, "crops 3 _ _"]]:
        large = [Crop.draw(config, random, size) for config in (self.config.first, self.config.second)]
        local_size = (self.config.local_size, self.config.local_size)
        small = [Crop.draw(self.config.local, random, local_size) for _ in range(self.config.local_crops)]
        picture = source.read(index, lambda *sides: tuple(map(max, *(crop.at_least(*sides) for crop in large + small))))

        def changed(crops: list[Crop], size: Size) -> UInt8[Tensor, "crops 3 height width"]:
            found = [
                change(crop.cut(picture, self.preprocessing), crop.config, self.preprocessing, random) for crop in crops
            ]
            return torch.stack(found) if found else torch.empty(0, 3, *size, dtype=torch.uint8)

        return {"global_crops": changed(large, size), "local_crops": changed(small, local_size)}


@dataclass(frozen=True)
class Crop:
    """A random crop: a fraction of the image area, with an aspect ratio of 3:4 to 4:3 times that of the output."""

    config: AugmentConfig
    size: Size
    area: float
    ratio: float
    left: float
    top: float

    @classmethod
    def draw(cls, config: AugmentConfig, random: np.random.Generator, size: Size) -> "Crop":
        area, shape, left, top = random.random(4).tolist()
        area = config.min_area + (config.max_area - config.min_area) * area
        return cls(config, size, area, math.exp((2 * shape - 1) * math.log(4 / 3)), left, top)

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in an image of this size; a crop that does not fit is shrunk, keeping its shape."""
        ratio = self.ratio * self.size[1] / self.size[0] * height / width
        columns, rows = math.sqrt(self.area * ratio), math.sqrt(self.area / ratio)
        fit = max(1.0, columns, rows)
        columns, rows = max(1, round(columns / fit * width)), max(1, round(rows / fit * height))
        left, top = int(self.left * (width - columns + 1)), int(self.top * (height - rows + 1))
        return left, top, left + columns, top + rows

    def at_least(self, width: int, height: int) -> tuple[float, float]:
        """Smallest width and height at which the image should be decoded."""
        left, top, right, bottom = self.box(width, height)
        return _SPARE * self.size[1] * width / (right - left), _SPARE * self.size[0] * height / (bottom - top)

    def cut(self, picture: Image.Image, preprocessing: Preprocessing) -> UInt8[Tensor, "3 height width"]:
        """The crop of an RGB image, resized with antialiasing.

        PyTorch gives the same result as Pillow, up to rounding and the pixels around the crop, in half the time.
        """
        region = _channels(picture.crop(self.box(*picture.size)))
        return F.interpolate(region[None], self.size, mode=preprocessing.interpolation, antialias=True)[0]


def change(
    crop: UInt8[Tensor, "3 height width"],
    config: AugmentConfig,
    preprocessing: Preprocessing,
    random: np.random.Generator,
) -> UInt8[Tensor, "3 height width"]:
    """The crop after all other augmentations of ``config``."""
    if config.randaugment or config.recolours:
        image = Image.fromarray(crop.permute(1, 2, 0).contiguous().numpy())
        red, green, blue = (round(255 * value) for value in preprocessing.mean)
        image = rand_augment(image, config.randaugment, config.randaugment_magnitude / 10, random, (red, green, blue))
        crop = _channels(change_colours(image, config, random))
    mirrored = config.flip and random.random() < 0.5
    found = crop.numpy()[..., :: -1 if mirrored else 1].copy()
    if random.random() < config.erase:
        erase(found, preprocessing, random)
    return torch.from_numpy(found)


def _channels(image: Image.Image) -> UInt8[Tensor, "3 height width"]:
    """The bytes of an RGB image, in Pillow's memory layout: NumPy needs 70 microseconds longer to get them."""
    content = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return content.view(image.height, image.width, 3).permute(2, 0, 1)


def _centre(source: Readable, index: int, preprocessing: Preprocessing, size: Size) -> UInt8[Tensor, "3 height width"]:
    if isinstance(source, ArrayImages) and source.images.shape[-2:] == size and preprocessing.crop_pct == 1:
        return source.images[index]  # Pillow would give the same bytes, a hundred times slower
    image = source.read(index)
    return pixels(resize_crop(image, size, crop_pct=preprocessing.crop_pct, interpolation=preprocessing.interpolation))
