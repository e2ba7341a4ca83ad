"""The configuration of an experiment."""

from dataclasses import dataclass, field
from typing import Any

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import FittedSchedule, ScheduleConfig
from crate_transformer.configs.tasks import ClassificationConfig, TaskConfig


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A model by name, changes to its registered configuration (``options``), and how it is trained.

    ``start_from`` is a checkpoint to fine-tune instead; ``crop_pct`` is the crop fraction in evaluation.
    """

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    start_from: str | None = None
    task: TaskConfig = field(default_factory=ClassificationConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    crop_pct: float = 1.0

    def fitted(self, num_samples: int) -> "FittedExperiment":
        """The experiment with batch size, steps and warm-up for a training set of this size."""
        return FittedExperiment(**{**vars(self), "schedule": self.schedule.fitted(num_samples)})


@dataclass(frozen=True, kw_only=True)
class FittedExperiment(Experiment):
    """An experiment with the length of its run, see ``Experiment.fitted``."""

    schedule: FittedSchedule = field()
