"""Precision, averaging, validation and seed of a run."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from crate_transformer.configs.checks import check_choice, check_positive

Precision = Literal["auto", "float32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Precision, averaging, validation and seed of a run."""

    precision: Precision = "auto"
    """auto: bf16 if a short timing finds its matrix products faster than float32 (on a CPU, from width 64 on), else
    float32."""
    ema_decay: float | None = None
    """Decay of an exponential moving average (EMA) of the weights; if given, the average is evaluated and saved."""
    evaluate_every: int | None = None
    """Steps between evaluations on the held-out images; default: only at the end. The best model is saved in 'best'."""
    patience: int | None = None
    """Early stopping: stop after this many evaluations without improvement."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice(self, "precision", get_args(Precision))
        check_positive(self, "evaluate_every", "patience")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}: it must be greater than 0 and less than 1")
        if self.patience is not None and self.evaluate_every is None:
            raise ValueError(f"patience is {self.patience} without evaluate_every: give both")
        if not 0 <= self.seed < 2**32 or not math.isfinite(self.seed):
            raise ValueError(f"seed is {self.seed}: it must be at least 0 and less than 2 ** 32")
