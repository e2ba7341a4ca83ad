"""A task and its data, ready for the first step."""

from dataclasses import dataclass

import torch

from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.data import ArrayImages, Masked, Order, Samples, Source, in_memory, train_loader
from crate_transformer.data.batches import BatchLoader
from crate_transformer.progress import ProgressLine
from crate_transformer.recipes.experiment import FittedExperiment
from crate_transformer.recipes.prepared import Prepared
from crate_transformer.recipes.tasks import build_task
from crate_transformer.training.processes import Processes
from crate_transformer.training.task import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Ready:
    """An experiment with its task and its data (in memory if small)."""

    experiment: FittedExperiment
    prepared: Prepared
    task: Task
    train: Samples
    held_out: Samples

    def batches(self, execution: ExecutionConfig, processes: Processes, start_step: int) -> BatchLoader:
        """The batches of this process, starting at this step."""
        schedule, seed, augment = self.experiment.schedule, self.experiment.loop.seed, self.experiment.augment
        labels = list(map(int, getattr(self.train, "labels", ()))) if augment.balanced else None
        return train_loader(
            self.train,
            self.task.view(),
            size=self.prepared.size,
            batch_size=schedule.batch_size,
            steps=schedule.steps,
            start_step=start_step,
            seed=seed,
            order=Order(len(self.train), seed, schedule.batch_size, augment.repeats, labels, augment.balanced),
            rank=processes.rank,
            world_size=processes.world_size,
            accumulate=execution.accumulate,
            num_workers=execution.workers,
        )


def make_ready(experiment: FittedExperiment, prepared: Prepared, *, show: bool) -> Ready:
    """Load small data into memory, and build the task."""
    train, held_out = read_all(prepared.train, show=show), read_all(prepared.held_out, show=show)
    labelled = getattr(held_out, "labels", None) is not None
    with torch.random.fork_rng(devices=[]):  # modules that an objective adds to the model have random weights too
        torch.manual_seed(experiment.loop.seed)
        task = build_task(experiment.task, prepared.model, experiment.augment, labelled=labelled)
    return Ready(experiment=experiment, prepared=prepared, task=task, train=train, held_out=held_out)


def read_all(images: Samples, *, show: bool) -> Samples:
    """Small images of one size are decoded once; other images, images with masks, and text are read on demand."""
    if isinstance(images, ArrayImages | Masked) or not isinstance(images, Source):
        return images
    with ProgressLine(f"reading {images.where}", len(images), show=show) as line:
        return in_memory(images, progress=line.update)
