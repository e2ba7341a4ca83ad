"""What else decides the weights that a run ends with."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from crate_transformer.configs.checks import check_choice, check_positive

Precision = Literal["auto", "float32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Precision, averaging and validation of a run."""

    precision: Precision = "auto"
    """auto: bf16 where a short timing finds its products faster than float32, on a CPU from width 64 on."""
    ema_decay: float | None = None
    """Also keep an average of the weights, which moves by 1 - decay of the way each step; it is what is evaluated and
    saved."""
    evaluate_every: int | None = None
    """Steps between evaluations on the held-out images; only at the end unless given. The best model is kept in
    'best'."""
    patience: int | None = None
    """Stop after this many evaluations without a better one."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice(self, "precision", get_args(Precision))
        check_positive(self, "evaluate_every", "patience")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}: it must be above 0 and below 1")
        if self.patience is not None and self.evaluate_every is None:
            raise ValueError(f"patience is {self.patience} without evaluate_every: give both")
        if not 0 <= self.seed < 2**32 or not math.isfinite(self.seed):
            raise ValueError(f"seed is {self.seed}: it must be at least 0 and below 2 ** 32")
