"""Supervised classification."""

from dataclasses import dataclass
from typing import ClassVar

from crate_transformer.configs.checks import check_fraction
from crate_transformer.configs.objective import ObjectiveConfig


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(ObjectiveConfig):
    """Cross entropy against the classes of the data."""

    teaches_classes: ClassVar[bool] = True

    label_smoothing: float = 0.1
    freeze_backbone: bool = False
    """Only the head learns; everything before it stays as it is, and works as in evaluation."""

    def __post_init__(self) -> None:
        check_fraction(self, "label_smoothing")
