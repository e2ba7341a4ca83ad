"""Data augmentation."""

import math
from dataclasses import dataclass, field
from typing import Any

_PROBABILITIES = (
    "colour_jitter",
    "colour_jitter_probability",
    "grayscale",
    "blur",
    "solarise",
    "erase",
    "mix_probability",
    "cutmix_fraction",
)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Augmentation of each image, in the order of these fields, and of each batch."""

    min_area: float = 0.35
    """Random resized crop: smallest area as a fraction of the image; the aspect ratio is 3:4 to 4:3 of the output's. If
    min_area and max_area are both 1, images are resized and centre-cropped as in evaluation."""
    max_area: float = 1.0
    """Random resized crop: largest area as a fraction of the image."""
    flip: bool = True
    """Flip images horizontally with probability 0.5."""
    randaugment: int = 0
    """Number of RandAugment operations (arXiv 1909.13719) per image, drawn from 14."""
    randaugment_magnitude: float = 9.0
    """Magnitude of these operations, at most 10. CRATE's transfer recipe uses a scale of 30: its 14 is 4.67 here."""
    colour_jitter: float = 0.0
    """Brightness, contrast and saturation are each multiplied by a factor between 1 - x and 1 + x."""
    saturation: float | None = None
    """The same x for the saturation alone; default: colour_jitter."""
    hue: float = 0.0
    """The hue is shifted by at most this fraction of the colour circle. All these jitters are applied in random
    order."""
    colour_jitter_probability: float = 1.0
    """Probability of colour jitter."""
    grayscale: float = 0.0
    """Probability of converting an image to greyscale."""
    blur: float = 0.0
    """Probability of a Gaussian blur."""
    blur_radius: float = 2.0
    """Largest standard deviation of the blur in pixels of the crop; it is drawn uniformly, from 0.1 on."""
    solarise: float = 0.0
    """Probability of solarisation, which inverts values above 127."""
    erase: float = 0.0
    """Probability of random erasing (arXiv 1708.04896): a rectangle of 2% to 33% of the area is replaced by noise."""
    mixup: float = 0.0
    """Mixup (arXiv 1710.09412): alpha of the Beta distribution of the weights; 0 disables it."""
    cutmix: float = 0.0
    """CutMix (arXiv 1905.04899): alpha of the Beta distribution of the areas; 0 disables it."""
    mix_probability: float = 1.0
    """Probability that an image is mixed with another one."""
    cutmix_fraction: float = 0.5
    """Probability of CutMix instead of mixup, if both are enabled."""
    repeats: int = 1
    """Repeated augmentation: how often an image occurs in a batch, augmented differently each time (arXiv
    1901.09335)."""
    balanced: bool = False
    """Sample all classes equally often, whatever their sizes, instead of each image once per epoch."""

    def __post_init__(self) -> None:
        if not 0 < self.min_area <= self.max_area <= 1:
            raise ValueError(
                f"min_area is {self.min_area} and max_area {self.max_area}: "
                "min_area must be greater than 0 and at most max_area, and max_area at most 1 (the whole image)"
            )
        for name in _PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be between 0 and 1")
        if self.saturation is not None and not 0 <= self.saturation <= 1:
            raise ValueError(f"saturation is {self.saturation}: it must be between 0 and 1")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue is {self.hue}: it must be between 0 and 0.5, half of the colour circle")
        if not 0 <= self.randaugment_magnitude <= 10:
            raise ValueError(f"randaugment_magnitude is {self.randaugment_magnitude}: it must be between 0 and 10")
        for name in ("randaugment", "mixup", "cutmix"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")
        if not 0.1 <= self.blur_radius < math.inf:
            raise ValueError(f"blur_radius is {self.blur_radius}: it must be at least 0.1 pixels")
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}: it must be at least 1")

    @property
    def crops(self) -> bool:
        """Whether images are cropped at random."""
        return self.min_area < 1

    @property
    def recolours(self) -> bool:
        """Whether colours or sharpness are augmented, other than by RandAugment."""
        jitter = (self.colour_jitter, self.saturation or 0.0, self.hue)
        return max(*jitter, self.grayscale, self.blur, self.solarise) > 0

    @property
    def mixes(self) -> bool:
        """Whether the images of a batch are mixed with each other."""
        return self.mix_probability > 0 and max(self.mixup, self.cutmix) > 0


def _dino(**other: Any) -> AugmentConfig:
    jitter = {"colour_jitter": 0.4, "saturation": 0.2, "hue": 0.1, "colour_jitter_probability": 0.8}
    return AugmentConfig(**jitter, grayscale=0.2, **other)


@dataclass(frozen=True, kw_only=True)
class MultiCropConfig:
    """Multi-crop augmentation of SimDINO (arXiv 2502.10385) and DINO (arXiv 2104.14294): two global crops and several
    local crops."""

    local_crops: int = 8
    """Number of local crops per image."""
    local_size: int = 96
    """Size of a local crop in pixels."""
    first: AugmentConfig = field(default_factory=lambda: _dino(min_area=0.4, blur=1.0))
    """Augmentation of the first global crop."""
    second: AugmentConfig = field(default_factory=lambda: _dino(min_area=0.4, blur=0.1, solarise=0.2))
    """Augmentation of the second global crop."""
    local: AugmentConfig = field(default_factory=lambda: _dino(min_area=0.05, max_area=0.4, blur=0.5))
    """Augmentation of a local crop."""

    def __post_init__(self) -> None:
        if self.local_crops < 0:
            raise ValueError(f"local_crops is {self.local_crops}: it must not be negative")
        if self.local_size < 1:
            raise ValueError(f"local_size is {self.local_size}: it must be at least 1 pixel")
