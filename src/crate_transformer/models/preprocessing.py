"""Preprocessing of images; it belongs to the weights, not to the model class."""

from dataclasses import dataclass
from typing import Literal, get_args

Interpolation = Literal["bilinear", "bicubic"]
LARGEST_SIDE = 4096  # pixels
_LARGEST_MEAN, _SMALLEST_STD = 10.0, 1e-3  # of pixel values in [0, 1]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize the short side to ``img_size / crop_pct``, crop the centre, scale to [0, 1], normalise per channel.

    ``img_size`` is (height, width) in pixels; the defaults are those of every published CRATE (ImageNet statistics).

    Raises:
        ValueError: a value is out of range: a side, also before the crop, above 4,096 pixels, a mean beyond 10, a
            standard deviation below 0.001 for pixels in [0, 1], or a number of channels other than three.
    """

    img_size: tuple[int, int] = (224, 224)
    crop_pct: float = 0.875
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if len(self.img_size) != 2 or not 1 <= min(self.img_size) <= max(self.img_size) <= LARGEST_SIDE:
            raise ValueError(
                f"img_size is {self.img_size}: give height and width, each from 1 to {LARGEST_SIDE} pixels"
            )
        if not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct is {self.crop_pct}: it must be above 0 and at most 1 (no crop)")
        if max(self.img_size) / self.crop_pct > LARGEST_SIDE / 0.875:
            raise ValueError(
                f"crop_pct is {self.crop_pct}: images would be enlarged to {max(self.img_size) / self.crop_pct:.3g} "
                f"pixels before they are cropped to {self.img_size}"
            )
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation is {self.interpolation!r}: choose {' or '.join(get_args(Interpolation))}")
        if not len(self.mean) == len(self.std) == 3:
            raise ValueError(
                f"mean has {len(self.mean)} values and std {len(self.std)}: give one of each for red, green and blue"
            )
        if not all(abs(value) <= _LARGEST_MEAN for value in self.mean):
            raise ValueError(f"mean is {self.mean}: every value must be between -{_LARGEST_MEAN} and {_LARGEST_MEAN}")
        if not all(_SMALLEST_STD <= value <= 1 / _SMALLEST_STD for value in self.std):
            raise ValueError(f"std is {self.std}: every value must be at least {_SMALLEST_STD}, for pixels in [0, 1]")
