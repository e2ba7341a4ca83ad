"""Masked autoencoding."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MAEConfig:
    """Filling in hidden patches, without labels (arXiv 2404.02446)."""

    mask_ratio: float = 0.75
    """Share of the patches that is hidden."""

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio <= 1:
            raise ValueError(f"mask_ratio is {self.mask_ratio}: it must be above 0 and at most 1")
