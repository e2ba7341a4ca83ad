"""How a picture becomes a model's input. Bound to the weights, never to the class."""

from dataclasses import dataclass
from typing import Literal, get_args

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize the short side to ``img_size / crop_pct``, crop the centre, scale to [0, 1], normalise per channel.

    ``img_size`` is (height, width) in pixels; the defaults are those of every published CRATE (ImageNet statistics).
    """

    img_size: tuple[int, int] = (224, 224)
    crop_pct: float = 0.875
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if len(self.img_size) != 2 or min(self.img_size) < 1:
            raise ValueError(f"img_size is {self.img_size}: give height and width, both at least 1 pixel")
        if not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct is {self.crop_pct}: it must be above 0 and at most 1 (no crop)")
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation is {self.interpolation!r}: choose {' or '.join(get_args(Interpolation))}")
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} values and std {len(self.std)}: give one of each per channel")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std is {self.std}: every value must be above 0")
