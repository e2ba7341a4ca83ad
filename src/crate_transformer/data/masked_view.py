"""The view of images with masks for training and evaluation."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from crate_transformer.configs import AugmentConfig
from crate_transformer.data.augment import Crop, Size, change
from crate_transformer.data.masked import Masked
from crate_transformer.data.transforms import pixels, resize_crop
from crate_transformer.models.preprocessing import Preprocessing


@dataclass(frozen=True)
class MaskedView:
    """An image and its mask, cropped and flipped alike; only the image is resized with antialiasing and recoloured.

    Args:
        config: without it, and for evaluation, both are resized and centre-cropped.
    """

    config: AugmentConfig | None
    preprocessing: Preprocessing

    def __call__(
        self, source: Masked, index: int, random: np.random.Generator | None, size: Size
    ) -> dict[str, UInt8[Tensor, "..."]]:
        image, mask = source.read_masked(index)
        if self.config is None or random is None:
            return {"images": self._centre(image, size), "masks": _values(_centre_mask(mask, size, self.preprocessing))}
        if self.config.crops:
            crop = Crop.draw(self.config, random, size)
            found = crop.cut(image, self.preprocessing)
            mask = mask.resize((size[1], size[0]), Image.Resampling.NEAREST, box=crop.box(*image.size))
        else:
            found, mask = self._centre(image, size), _centre_mask(mask, size, self.preprocessing)
        mirrored = self.config.flip and random.random() < 0.5
        found = change(found, replace(self.config, flip=False), self.preprocessing, random)
        both = {"images": found, "masks": _values(mask)}
        return {name: values.flip(-1) for name, values in both.items()} if mirrored else both

    def _centre(self, image: Image.Image, size: Size) -> UInt8[Tensor, "3 height width"]:
        crop_pct, interpolation = self.preprocessing.crop_pct, self.preprocessing.interpolation
        return pixels(resize_crop(image, size, crop_pct=crop_pct, interpolation=interpolation))


def _centre_mask(mask: Image.Image, size: Size, preprocessing: Preprocessing) -> Image.Image:
    return resize_crop(mask, size, crop_pct=preprocessing.crop_pct, interpolation="nearest")


def _values(mask: Image.Image) -> UInt8[Tensor, "height width"]:
    return torch.from_numpy(np.array(mask))
