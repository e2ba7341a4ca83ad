"""The cost of a run, measured on its first steps; nothing is saved."""

import dataclasses
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.data import Split
from crate_transformer.progress import duration
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.output import check_output
from crate_transformer.recipes.ready import make_ready
from crate_transformer.recipes.tasks import prepare
from crate_transformer.training.log_window import LogWindow
from crate_transformer.training.processes import Processes
from crate_transformer.training.state_tensors import state_tensors
from crate_transformer.training.trainer import Trainer

WARM_UP, MEASURED, LONGEST = 2, 20, 30.0
"""Warm-up steps, largest number of measured steps, and seconds after which the measurement ends."""


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """Sizes in bytes, times in seconds; ``memory`` is the largest memory of any process.

    ``seconds_per_step`` excludes evaluations and states; ``waiting`` is the fraction of it spent waiting for data.
    """

    parameters: int
    steps: int
    batch_size: int
    samples: str
    passes: float
    precision: str
    processes: int
    measured_steps: int
    seconds_per_step: float
    waiting: float
    memory: int
    state: int

    def __str__(self) -> str:
        whole, speed = self.steps * self.seconds_per_step, self.batch_size / self.seconds_per_step
        lines = (
            f"{self.parameters:,} parameters, computed in {_WORDS.get(self.precision, self.precision)}",
            f"{self.steps:,} steps of {self.batch_size} {self.samples}, {self.passes:.1f} epochs",
            f"{self.seconds_per_step:.3g} s per step, {speed:,.0f} {self.samples}/s, {self.waiting:.0%} of the time "
            f"waiting for data: measured on {self.measured_steps} steps, processes: {self.processes}",
            f"{duration(whole / self.passes)} per epoch, {duration(whole)} in total, without evaluations",
            f"{self.memory / 1e6:,.0f} MB of memory, {self.state / 1e6:,.1f} MB on disk per state",
        )
        return "\n".join(lines)


_WORDS = {"no": "float32"}


def dry_run(experiment: Experiment, split: Split, folder: Path, *, execution: ExecutionConfig) -> DryRun:
    """Train a few steps at the full image size, without saving anything.

    Args:
        folder: the output folder of the run; its disk must have space for the states.

    Raises:
        ValueError: as in ``fit``.
        OSError: as in ``fit``.
    """
    processes = Processes()
    processes.on_main(lambda: check_output(folder))
    fitted = experiment.fitted(len(split.train))
    schedule = fitted.schedule
    ready = make_ready(fitted, prepare(fitted, split, show=False), show=False)
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    with tempfile.TemporaryDirectory(prefix=".crate-dry-run-", dir=there) as scratch:
        trainer = Trainer(
            ready.task,
            Path(scratch),
            optimiser=experiment.optimiser,
            schedule=schedule,
            loop=experiment.loop,
            execution=dataclasses.replace(execution, tracker=None),
            processes=processes,
            show=False,
        )
        first = min(round(schedule.small_until * schedule.steps), schedule.steps - 1)
        batches = iter(ready.batches(execution, processes, first))
        window = LogWindow(schedule.batch_size, ready.task.samples)
        count, began = 0, time.monotonic()
        ready.task.train()
        for step in range(first, min(first + WARM_UP + MEASURED, schedule.steps)):
            if step == first + WARM_UP:
                window.close(processes)
                count, began = 0, time.monotonic()
            window.add(*trainer.stepper(batches, step, window.waiting))
            if trainer.average is not None:
                trainer.average.update_parameters(ready.task.exported)
            count += 1
            if processes.on_main(lambda began=began: time.monotonic() - began) > LONGEST:
                break
        numbers = window.close(processes)
        tensors = state_tensors(ready.task, trainer.average, trainer.stepper.optimizers)
    return DryRun(
        parameters=sum(p.numel() for p in ready.task.exported.parameters()),
        steps=schedule.steps,
        batch_size=schedule.batch_size,
        samples=ready.task.samples,
        passes=schedule.steps * schedule.batch_size / len(ready.train),
        precision=trainer.precision,
        processes=processes.world_size,
        measured_steps=count,
        seconds_per_step=schedule.batch_size / numbers[f"{ready.task.samples}_per_second"],
        waiting=numbers["waiting_for_data"],
        memory=max(processes.gather(_memory(processes.device))),
        state=sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
    )


def _memory(device: torch.device) -> int:
    """The peak memory of PyTorch on a GPU; on a CPU, the peak (or else current) memory of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
