"""Masked autoencoding."""

from dataclasses import dataclass
from typing import ClassVar

from crate_transformer.configs.objective import ObjectiveConfig


@dataclass(frozen=True, kw_only=True)
class MAEConfig(ObjectiveConfig):
    """Masked autoencoding: reconstructing masked patches, without labels (arXiv 2404.02446)."""

    default_model: ClassVar[str] = "crate_mae_mini_patch8_64"
    needs_decoder: ClassVar[bool] = True

    mask_ratio: float = 0.75
    """Fraction of the patches that is masked."""
    normalise_pixels: bool = False
    """Normalise the target: subtract the mean of each patch and divide by its standard deviation. With --start-from,
    the checkpoint decides."""

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio <= 1:
            raise ValueError(f"mask_ratio is {self.mask_ratio}: it must be greater than 0 and at most 1")

    def model_options(self, num_classes: int) -> dict[str, object]:
        return super().model_options(num_classes) | ({"normalise_pixels": True} if self.normalise_pixels else {})
