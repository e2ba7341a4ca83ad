"""How pictures are changed at random while training."""

import math
from dataclasses import dataclass, field

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
    """Random changes of each picture, in the order of these fields, and of each batch."""

    min_area: float = 0.35
    """Random-resized crop: smallest fraction of the picture that a crop keeps, its sides 3:4 to 4:3 of the output's;
    with a max_area of 1, 1 crops nothing at random: pictures are resized and cropped at the centre as in evaluation."""
    max_area: float = 1.0
    """Largest fraction of the picture that a crop keeps."""
    flip: bool = True
    """Mirror half of the pictures."""
    randaugment: int = 0
    """Operations of RandAugment (arXiv 1909.13719) that each picture goes through, drawn from 14."""
    randaugment_magnitude: float = 9.0
    """Strength of these operations, 10 being the largest. CRATE's transfer recipe counts to 30: its 14 is 4.67 here."""
    colour_jitter: float = 0.0
    """Brightness, contrast and saturation are each multiplied by a factor within this distance of 1."""
    saturation: float | None = None
    """The distance for the saturation; that of colour_jitter unless given."""
    hue: float = 0.0
    """The hue is turned by at most this fraction of its circle; colour_jitter, saturation and hue come in any order."""
    colour_jitter_probability: float = 1.0
    """Fraction of the pictures whose colours are changed so."""
    grayscale: float = 0.0
    """Fraction of the pictures that lose their colours."""
    blur: float = 0.0
    """Fraction of the pictures that are blurred, by a Gaussian whose standard deviation is 0.1 to 2 pixels."""
    solarise: float = 0.0
    """Fraction of the pictures in which values above 127 are inverted."""
    erase: float = 0.0
    """Fraction of the pictures in which a rectangle of 2% to 33% becomes noise (arXiv 1708.04896)."""
    mixup: float = 0.0
    """Alpha of the Beta distribution from which mixup (arXiv 1710.09412) draws weights; 0 never mixes so."""
    cutmix: float = 0.0
    """Alpha of the Beta distribution from which CutMix (arXiv 1905.04899) draws areas; 0 never mixes so."""
    mix_probability: float = 1.0
    """Fraction of the pictures that are mixed with another at all."""
    cutmix_fraction: float = 0.5
    """Fraction of the mixed pictures that are mixed by CutMix, where both kinds are on."""
    repeats: int = 1
    """How often a picture comes in a batch, each time changed otherwise (arXiv 1901.09335)."""
    balanced: bool = False
    """Draw pictures of every class equally often, however many there are, instead of each picture once an epoch."""

    def __post_init__(self) -> None:
        if not 0 < self.min_area <= self.max_area <= 1:
            raise ValueError(
                f"min_area is {self.min_area} and max_area {self.max_area}: "
                "they must be above 0, at most 1 (the whole picture) and in this order"
            )
        for name in _PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must lie between 0 and 1")
        if self.saturation is not None and not 0 <= self.saturation <= 1:
            raise ValueError(f"saturation is {self.saturation}: it must lie between 0 and 1")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue is {self.hue}: it must lie between 0 and 0.5, half of its circle")
        if not 0 <= self.randaugment_magnitude <= 10:
            raise ValueError(f"randaugment_magnitude is {self.randaugment_magnitude}: it must lie between 0 and 10")
        for name in ("randaugment", "mixup", "cutmix"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}: it must be at least 1")

    @property
    def crops(self) -> bool:
        """Whether pictures are cropped at random."""
        return self.min_area < 1

    @property
    def recolours(self) -> bool:
        """Whether the colours or the sharpness of pictures are changed, other than by RandAugment."""
        jitter = (self.colour_jitter, self.saturation or 0.0, self.hue)
        return max(*jitter, self.grayscale, self.blur, self.solarise) > 0

    @property
    def mixes(self) -> bool:
        """Whether pictures of a batch are mixed with each other."""
        return self.mix_probability > 0 and max(self.mixup, self.cutmix) > 0


def _dino(**other: float) -> AugmentConfig:
    jitter = {"colour_jitter": 0.4, "saturation": 0.2, "hue": 0.1, "colour_jitter_probability": 0.8}
    return AugmentConfig(**jitter, grayscale=0.2, **other)


@dataclass(frozen=True, kw_only=True)
class MultiCropConfig:
    """Two large and several small crops of each picture, as SimDINO (arXiv 2502.10385) and DINO (arXiv 2104.14294)
    train."""

    local_crops: int = 8
    """Small crops of a picture."""
    local_size: int = 96
    """Side of a small crop in pixels."""
    first: AugmentConfig = field(default_factory=lambda: _dino(min_area=0.4, blur=1.0))
    """Changes of the first large crop."""
    second: AugmentConfig = field(default_factory=lambda: _dino(min_area=0.4, blur=0.1, solarise=0.2))
    """Changes of the second large crop."""
    local: AugmentConfig = field(default_factory=lambda: _dino(min_area=0.05, max_area=0.4, blur=0.5))
    """Changes of a small crop."""

    def __post_init__(self) -> None:
        if self.local_crops < 0:
            raise ValueError(f"local_crops is {self.local_crops}: it must not be negative")
        if self.local_size < 1:
            raise ValueError(f"local_size is {self.local_size}: it must be at least 1 pixel")
