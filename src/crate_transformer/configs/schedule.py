"""Length of a run, and the schedules of learning rate and image size."""

import math
from dataclasses import dataclass, field

from crate_transformer.configs.checks import check_fraction, check_not_negative, check_positive

PASSES, FEWEST_STEPS, LARGEST_BATCH = 30.0, 300, 128
ALTERNATIVES = (("epochs", "steps", "samples"), ("warmup_steps", "warmup_epochs"))
"""Settings of the same thing, of which a user gives one."""
ENOUGH_STEPS = 100
"""With fewer steps a model trained from scratch has hardly learned anything (docs/results.md)."""


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Length of a run in epochs, steps or samples; all schedules count optimiser steps."""

    epochs: float | None = None
    """Passes over the training set; default: 30, or more to reach 300 steps."""
    steps: int | None = None
    """Optimiser steps; replaces epochs."""
    samples: int | None = None
    """Total number of images (or texts) seen; replaces epochs."""
    batch_size: int | None = None
    """Images per step over all processes; default: about a sixteenth of the training set, as a multiple of 8 from 8 to
    128; half of a smaller set, as a power of two."""
    warmup_steps: int | None = None
    """Steps of linear warm-up before the cosine decay; default: a tenth of all steps, at most 300."""
    warmup_epochs: float | None = None
    """Warm-up in passes over the training set, instead of warmup_steps."""
    final_learning_rate: float = 0.0
    """Learning rate at the end of the cosine decay, as a fraction of the learning rate."""
    scale: float = 1.0
    """Training image size relative to the model's; 2 fine-tunes a model to twice as many patches per side."""
    small_until: float = 0.0
    """Fraction of the run, at its start, that trains on images of 3/4 the size, at about half the cost; 0 disables
    it."""

    def __post_init__(self) -> None:
        check_positive(self, "epochs", "steps", "samples", "batch_size", "scale")
        check_fraction(self, "small_until", "final_learning_rate")
        check_not_negative(self, "warmup_steps", "warmup_epochs")
        if self.steps is not None and self.samples is not None:
            raise ValueError(f"steps is {self.steps} and samples is {self.samples}: give one of them")
        if self.warmup_steps is not None and self.warmup_epochs is not None:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps} and warmup_epochs is {self.warmup_epochs}: give one of them"
            )

    def fitted(self, num_images: int) -> "FittedSchedule":
        """These settings with batch size, steps and warm-up filled in for a training set of this size.

        Small data sets get more epochs, because the number of steps matters, not the number of epochs.
        """
        batch_size = self.batch_size or _batch_size(num_images)
        steps = self.steps
        if steps is None:
            samples = self.samples or (self.epochs or PASSES) * num_images
            steps = max(1, round(samples / batch_size))
            if self.samples is None and self.epochs is None:
                steps = max(steps, FEWEST_STEPS)
        warmup = self.warmup_steps
        if self.warmup_epochs is not None:
            warmup = round(self.warmup_epochs * num_images / batch_size)
        if warmup is None:
            warmup = min(steps // 10, 300)
        given = {**vars(self), "epochs": None, "samples": None, "warmup_epochs": None}
        return FittedSchedule(**{**given, "batch_size": batch_size, "steps": steps, "warmup_steps": warmup})


@dataclass(frozen=True, kw_only=True)
class FittedSchedule(ScheduleConfig):
    """A schedule with its length, see ``ScheduleConfig.fitted``."""

    batch_size: int = field()
    steps: int = field()
    warmup_steps: int = field()


def _batch_size(num_images: int) -> int:
    """An even number if possible, for pairs of images, several processes and parts of a batch."""
    largest = max(min(max(num_images // 16, 8), LARGEST_BATCH, num_images // 2), 1)
    return largest // 8 * 8 or 2 ** int(math.log2(largest))
