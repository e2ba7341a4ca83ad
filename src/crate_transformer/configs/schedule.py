"""How long a run is, and how the learning rate and the size of the pictures go along it."""

from dataclasses import dataclass, replace

from crate_transformer.configs.checks import check_fraction, check_not_negative, check_positive

PASSES, FEWEST_STEPS, LARGEST_BATCH = 30.0, 300, 128
ENOUGH_STEPS = 100
"""Below that a model that starts anew has hardly moved (docs/results.md)."""


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Length of a run in passes, steps or samples; everything along it counts optimiser steps."""

    epochs: float | None = None
    """Passes over the training set; 30, or as many as make 300 steps, unless given."""
    steps: int | None = None
    """Optimiser steps; given, they replace epochs."""
    samples: int | None = None
    """Images (or texts) seen in all; given, they replace epochs."""
    batch_size: int | None = None
    """Images per step over all processes; a sixteenth of the training set, at least 8, at most 128 or half of the set,
    unless given."""
    warmup_steps: int | None = None
    """Linear warm-up, then a cosine; a tenth of the steps, at most 300, unless given."""
    warmup_epochs: float | None = None
    """The warm-up in passes over the training set."""
    final_learning_rate: float = 0.0
    """Where the cosine ends, as a fraction of the learning rate."""
    scale: float = 1.0
    """Side of the pictures relative to the model's own; 2 tunes a trained model to twice as many patches a side."""
    small_until: float = 0.0
    """Fraction of the run that is trained on pictures of 3/4 the side, which costs about half; 0 never does."""

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

    def fitted(self, num_images: int) -> "ScheduleConfig":
        """These settings with batch size, steps and warm-up that suit a training set of this size where none is given.

        A small set is seen more often: steps are what moves the weights, not passes.
        """
        batch_size = self.batch_size or min(max(num_images // 16, 8), LARGEST_BATCH, max(num_images // 2, 1))
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
        return replace(
            self, epochs=None, samples=None, warmup_epochs=None, batch_size=batch_size, steps=steps, warmup_steps=warmup
        )
