"""Self-distillation with a coding rate."""

from dataclasses import dataclass

from crate_transformer.configs.checks import check_not_negative, check_positive
from crate_transformer.configs.objective import ObjectiveConfig


@dataclass(frozen=True, kw_only=True)
class SimDINOConfig(ObjectiveConfig):
    """Self-distillation without labels (SimDINO, arXiv 2502.10385): a student matches an EMA teacher on crops of an
    image, and a coding rate keeps the features apart."""

    epsilon_squared: float = 0.05
    """Distortion allowed by the coding rate; a smaller value strengthens the term that keeps features apart."""
    rate_weight: float | None = None
    """Weight gamma of the coding rate; default: 1 / feature_dim + 1 / batch_size."""
    momentum: float = 0.996
    """EMA momentum of the teacher in the first step; it increases to 1 along a cosine."""
    hidden_dim: int = 2048
    """Width of the two hidden layers of the projection head."""
    feature_dim: int = 256
    """Output dimension of the projection head."""
    local_crops: int = 8
    """Number of local crops per image, in addition to two global crops; all are augmented as in the paper."""
    local_size: int | None = None
    """Size of a local crop in pixels; default: about 3/7 of the global crop, in whole patches."""

    def __post_init__(self) -> None:
        check_positive(self, "epsilon_squared", "rate_weight", "hidden_dim", "feature_dim", "local_size")
        check_not_negative(self, "local_crops")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum is {self.momentum}: it must be between 0 and 1")
