"""Self-distillation with a coding rate."""

from dataclasses import dataclass

from crate_transformer.configs.checks import check_not_negative, check_positive
from crate_transformer.configs.objective import ObjectiveConfig


@dataclass(frozen=True, kw_only=True)
class SimDINOConfig(ObjectiveConfig):
    """Agreeing on crops of a picture with a running average of oneself, without labels (SimDINO, arXiv 2502.10385)."""

    epsilon_squared: float = 0.05
    """The error that the coding rate allows; what keeps features apart weighs more the smaller it is."""
    rate_weight: float | None = None
    """Weight of the coding rate, gamma; 1 / feature_dim + 1 / batch_size unless given."""
    momentum: float = 0.996
    """What the teacher keeps of itself in the first step; it grows to 1 along a cosine."""
    hidden_dim: int = 2048
    """Width of the two hidden layers of the projection."""
    feature_dim: int = 256
    """Width of what is compared."""
    local_crops: int = 8
    """Small crops of a picture, beside its two large ones; all are changed at random as in the paper."""
    local_size: int | None = None
    """Side of a small crop in pixels; about 3/7 of that of a large one, in whole patches, unless given."""

    def __post_init__(self) -> None:
        check_positive(self, "epsilon_squared", "rate_weight", "hidden_dim", "feature_dim", "local_size")
        check_not_negative(self, "local_crops")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum is {self.momentum}: it must lie between 0 and 1")
