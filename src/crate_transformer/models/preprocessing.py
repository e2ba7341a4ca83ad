"""How a picture becomes a model's input. Bound to the weights, never to the class."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize the short side to ``img_size / crop_pct``, crop the centre, scale to [0, 1], normalise per channel.

    ``img_size`` is (height, width) in pixels; the defaults are those of every published CRATE (ImageNet statistics).
    """

    img_size: tuple[int, int] = (224, 224)
    crop_pct: float = 0.875
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
