"""What a training run is made of. Imports nothing heavy: the command line reads it before PyTorch is there."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

Optimizer = Literal["adamw", "lion", "muon"]
Precision = Literal["auto", "float32", "bf16"]
PASSES, FEWEST_STEPS, LARGEST_BATCH = 30.0, 300, 128
ENOUGH_STEPS = 100
"""Below that a model that starts anew has hardly moved (docs/results.md)."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation of one run; schedules count optimiser steps, never epochs."""

    epochs: float | None = None
    """Passes over the training set; 30, or as many as make 300 steps, unless given."""
    steps: int | None = None
    """Optimiser steps; given, they replace epochs."""
    batch_size: int | None = None
    """Images per step; a sixteenth of the training set, at least 8, at most 128 or half of the set, unless given."""
    optimizer: Optimizer = "adamw"
    """muon orthogonalises the steps of the blocks' matrices, AdamW moves the rest."""
    learning_rate: float = 1.5e-3
    matrix_learning_rate: float = 4e-3
    """Of muon's part, in the scale of AdamW's."""
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05
    """On matrices only; norms, biases, class token and positions are not decayed."""
    warmup_steps: int | None = None
    """Linear warm-up, then a cosine down to zero; a tenth of the steps, at most 300, unless given."""
    label_smoothing: float = 0.1
    clip_grad_norm: float = 1.0
    """Largest norm of the gradient; 0 leaves it alone."""
    precision: Precision = "auto"
    """auto: bf16 where a short timing finds its products faster than float32, on a CPU from width 64 on."""
    min_area: float = 0.35
    """Random-resized crop: smallest share of the picture that a crop keeps; 1 crops nothing."""
    flip: bool = True
    """Mirror half of the pictures."""
    scale: float = 1.0
    """Side of the pictures relative to the model's own; 2 tunes a trained model to twice as many patches a side."""
    small_until: float = 0.0
    """Share of the run that is trained on pictures of 3/4 the side, which costs about half; 0 never does."""
    seed: int = 0
    checkpoint_every: int = 500
    """Steps between resumable states."""

    def __post_init__(self) -> None:
        for name, known in (("optimizer", get_args(Optimizer)), ("precision", get_args(Precision))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(known)}")
        for name in (
            "epochs",
            "steps",
            "batch_size",
            "learning_rate",
            "matrix_learning_rate",
            "scale",
            "checkpoint_every",
        ):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be greater than 0")
        for name in ("min_area", "label_smoothing", "small_until"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must lie between 0 and 1")
        for name in ("weight_decay", "warmup_steps", "clip_grad_norm"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")
        if self.min_area == 0:
            raise ValueError("min_area is 0: a crop must keep some of the picture")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {self.betas}: each must be at least 0 and below 1")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}: it must be at least 0 and below 2 ** 32")

    def fitted(self, num_images: int) -> "TrainConfig":
        """These settings with batch size, steps and warm-up that suit a training set of this size where none is given.

        A small set is seen more often: steps are what moves the weights, not passes.
        """
        batch_size = self.batch_size or min(max(num_images // 16, 8), LARGEST_BATCH, max(num_images // 2, 1))
        steps = self.steps or max(1, round((self.epochs or PASSES) * num_images / batch_size))
        if self.steps is None and self.epochs is None:
            steps = max(steps, FEWEST_STEPS)
        return replace(self, batch_size=batch_size, steps=steps, warmup_steps=self.num_warmup_steps(steps))

    def num_warmup_steps(self, steps: int) -> int:
        """The warm-up of a run of so many steps."""
        return min(steps // 10, 300) if self.warmup_steps is None else self.warmup_steps
