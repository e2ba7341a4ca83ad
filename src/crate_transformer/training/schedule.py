"""Learning rates and seeds as functions of the step, so that a resumed run has nothing to restore."""

import math
from collections.abc import Iterable

import numpy as np
from torch.optim import Optimizer


def warmup_cosine(step: int, warmup_steps: int, steps: int, final: float = 0.0) -> float:
    """Factor of the learning rate at ``step``, counted from 0: linear warm-up, then half a cosine to ``final``."""
    cosine = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * step / steps))
    return min((step + 1) / max(warmup_steps, 1), cosine)


def scale_learning_rates(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Give every group of parameters ``factor`` times its initial learning rate, times its ``lr_scale``."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = factor * group.setdefault("initial_lr", group["lr"]) * group.get("lr_scale", 1.0)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seeds what is random in one step of one process and no function of the pictures' positions."""
    return int(np.random.SeedSequence((seed, step, rank, 1)).generate_state(1, np.uint64)[0])
