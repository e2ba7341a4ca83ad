"""Semantic segmentation."""

from dataclasses import dataclass
from typing import Literal

from crate_transformer.configs.checks import check_positive
from crate_transformer.configs.objective import ObjectiveConfig


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(ObjectiveConfig):
    """Semantic segmentation: a class for each pixel, by a DEPICT decoder (arXiv 2411.03033) on the backbone."""

    attention: Literal["self", "cross"] = "self"
    """Attention in the decoder: patches and class tokens attend to each other (self); or patches to patches, then class
    tokens to patches (cross)."""
    decoder_depth: int = 3
    """Layers of the decoder; with cross attention also the number of those layers."""
    decoder_heads: int = 3
    """Attention heads of the decoder."""
    freeze_backbone: bool = False
    """Train only the decoder; the backbone is frozen and in evaluation mode."""

    def __post_init__(self) -> None:
        check_positive(self, "decoder_depth", "decoder_heads")
