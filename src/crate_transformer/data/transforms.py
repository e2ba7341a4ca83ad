"""From a picture to a model's input: the exact evaluation geometry, and random crops and flips for training."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Num, UInt8
from PIL import Image
from torch import Tensor

from crate_transformer.models.preprocessing import Preprocessing

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
MAX_ASPECT = 16
"""Times as long as wide: of longer pictures only the middle is seen, see ``middle``."""
REDUCING_GAP = 2.0  # how many times the output's sides a crop keeps when it is first reduced by a whole factor


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> Float[Tensor, "3 height width"]:
    """One RGB picture as a model was evaluated on it: resized, cropped at the centre, scaled, normalised."""
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
    """Resize until the picture just covers ``size / crop_pct`` and cut ``size`` (height, width) out of its centre.

    For a square size this is the published geometry: short side ``s = int(size / crop_pct)``, long side
    ``int(s * long / short)``, Pillow's antialiased resampling, offsets ``int(round(excess / 2))``. Of pictures more
    than 16 times as long as wide only the middle is resized.
    """
    image = middle(image)
    width, height = image.size
    rows, columns = (int(side / crop_pct) for side in size)
    if columns * height >= rows * width:
        rows = columns * height // width
    else:
        columns = rows * width // height
    top, left = round((rows - size[0]) / 2), round((columns - size[1]) / 2)
    resized = image.resize((columns, rows), _RESAMPLING[interpolation])
    return resized.crop((left, top, left + size[1], top + size[0]))


def middle(image: Image.Image) -> Image.Image:
    """The middle of a picture that is more than 16 times as long as wide; any other picture as it is."""
    width, height = image.size
    longest = MAX_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
    return image.crop((left, top, left + min(width, longest), top + min(height, longest)))


def pixels(image: Image.Image) -> UInt8[Tensor, "3 height width"]:
    """The bytes of an RGB picture, channels first."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def normalise(
    images: UInt8[Tensor, "*batch 3 height width"], preprocessing: Preprocessing
) -> Float[Tensor, "*batch 3 height width"]:
    """Bytes to ``(x / 255 - mean) / std`` per channel."""
    return _normalise_(images.float(), preprocessing)


def _normalise_(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return images.div_(255).sub_(mean).div_(std)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random-resized crop and flip: a share of the picture from ``min_area`` to 1, sides 3:4 to 4:3 of the output's.

    A crop that does not fit into the picture is shrunk until it does, its shape kept, and may then cover less than
    ``min_area``. With a ``min_area`` of 1 nothing is cropped at random: pictures are resized and cropped at the centre
    as for evaluation, whether or not they are mirrored. ``flip`` mirrors every second picture left to right.
    """

    min_area: float = 0.35
    flip: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.min_area <= 1:
            raise ValueError(f"min_area is {self.min_area}: it must be above 0 and at most 1 (the whole picture)")

    @property
    def crops(self) -> bool:
        """Whether pictures are cropped at random."""
        return self.min_area < 1

    def boxes(self, uniforms: Float[Tensor, "batch 5"], aspect: float) -> Float[Tensor, "batch 4"]:
        """Crops (left, top, right, bottom) in fractions of the picture.

        Args:
            uniforms: Five numbers in [0, 1) per crop: area, shape, left, top, flip.
            aspect: Width over height of the output, divided by width over height of the picture.
        """
        area, shape, left, top, _ = uniforms.unbind(1)
        area = self.min_area + (1 - self.min_area) * area
        ratio = aspect * torch.exp((2 * shape - 1) * math.log(4 / 3))
        width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
        fit = torch.maximum(width, height).clamp(min=1)
        width, height = width / fit, height / fit
        left, top = left * (1 - width), top * (1 - height)
        return torch.stack([left, top, left + width, top + height], dim=1)

    def mirror(
        self, images: Num[Tensor, "batch 3 height width"], uniforms: Float[Tensor, "batch 5"]
    ) -> Num[Tensor, "batch 3 height width"]:
        """The pictures, those with the last number below one half mirrored left to right."""
        flips = (uniforms[:, 4] < 0.5) & self.flip
        return torch.where(flips.view(-1, 1, 1, 1), images.flip(-1), images)


def crop_batch(
    images: UInt8[Tensor, "batch 3 _ _"], boxes: Float[Tensor, "batch 4"], preprocessing: Preprocessing
) -> Float[Tensor, "batch 3 height width"]:
    """Crop, resize and normalise a batch of equally large pictures at once, without antialiasing."""
    left, top, right, bottom = boxes.unbind(1)
    theta = boxes.new_zeros(len(images), 2, 3)
    theta[:, 0, 0] = right - left
    theta[:, 0, 2] = left + right - 1
    theta[:, 1, 1] = bottom - top
    theta[:, 1, 2] = top + bottom - 1
    grid = F.affine_grid(theta, [len(images), 3, *preprocessing.img_size], align_corners=False)
    crops = F.grid_sample(
        images.float(), grid, mode=preprocessing.interpolation, padding_mode="reflection", align_corners=False
    )
    return _normalise_(crops, preprocessing)


def crop_picture(
    image: Image.Image, box: Float[Tensor, "4"], preprocessing: Preprocessing
) -> UInt8[Tensor, "3 height width"]:
    """Crop and resize (antialiased) one picture; ``box`` is in fractions of it."""
    width, height = image.size
    left, top, right, bottom = box.tolist()
    inside = (left * width, top * height, min(right, 1) * width, min(bottom, 1) * height)
    rows, columns = preprocessing.img_size
    resampling = _RESAMPLING[preprocessing.interpolation]
    return pixels(image.resize((columns, rows), resampling, box=inside, reducing_gap=REDUCING_GAP))
