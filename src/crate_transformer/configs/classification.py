"""Supervised classification."""

from dataclasses import dataclass

from crate_transformer.configs.checks import check_share


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """Cross entropy against the classes of the data."""

    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        check_share(self, "label_smoothing")
