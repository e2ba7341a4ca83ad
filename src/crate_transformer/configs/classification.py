"""Supervised classification."""

from dataclasses import dataclass
from typing import ClassVar

from crate_transformer.configs.checks import check_fraction
from crate_transformer.configs.objective import ObjectiveConfig


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(ObjectiveConfig):
    """Cross entropy with the labels of the data."""

    teaches_classes: ClassVar[bool] = True

    label_smoothing: float = 0.1
    freeze_backbone: bool = False
    """Train only the head; the rest of the model is frozen and in evaluation mode."""

    def __post_init__(self) -> None:
        check_fraction(self, "label_smoothing")
