"""What a training run is made of. Imports nothing heavy: the command line reads it before PyTorch is there."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation of one run; schedules count optimiser steps, never epochs."""

    epochs: float = 30.0
    """Passes over the training set."""
    steps: int | None = None
    """Optimiser steps; given, they replace epochs."""
    batch_size: int = 128
    """Images per step."""
    optimizer: Literal["auto", "adamw", "lion", "muon"] = "adamw"
    """muon orthogonalises the steps of the blocks' matrices (PyTorch 2.9 or newer), AdamW moves the rest; auto: muon
    where PyTorch has it, else adamw."""
    learning_rate: float = 1.5e-3
    matrix_learning_rate: float = 4e-3
    """Of muon's part, in the scale of AdamW's."""
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05
    """On matrices only; norms, biases, class token and positions are not decayed."""
    warmup_steps: int = 300
    """Linear warm-up, then a cosine down to zero."""
    label_smoothing: float = 0.1
    clip_grad_norm: float = 1.0
    """Largest norm of the gradient; 0 leaves it alone."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """auto: bf16 where it was measured faster, which is on GPUs and on CPUs with 16-bit products from width 64 on."""
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
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")
        if self.min_area == 0:
            raise ValueError("min_area is 0: a crop must keep some of the picture")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {self.betas}: each must be at least 0 and below 1")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}: it must be at least 0 and below 2 ** 32")

    def num_steps(self, num_images: int) -> int:
        """Optimiser steps on a training set of this size."""
        return self.steps or max(1, round(self.epochs * num_images / self.batch_size))
