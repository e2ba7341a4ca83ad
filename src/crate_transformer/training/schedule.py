"""The learning rate as a function of the step, so that a resumed run has nothing to restore."""

import math
from collections.abc import Iterable

from torch.optim import Optimizer


def warmup_cosine(step: int, warmup_steps: int, steps: int) -> float:
    """Share of the full learning rate at ``step``, counted from 0: linear warm-up, then half a cosine to 0."""
    return min((step + 1) / max(warmup_steps, 1), 0.5 * (1 + math.cos(math.pi * step / steps)))


def scale_learning_rates(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Give every group of parameters ``factor`` times the learning rate that it was made with."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = factor * group.setdefault("initial_lr", group["lr"])
