"""The one training loop."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import NoReturn

import torch

from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import FittedSchedule
from crate_transformer.models import Model, innermost
from crate_transformer.progress import ProgressLine
from crate_transformer.training.average import average_of
from crate_transformer.training.diagnosis import first_not_finite
from crate_transformer.training.interrupt import stop_between_steps, stop_wanted
from crate_transformer.training.log_window import LogWindow
from crate_transformer.training.metrics import MetricsLog
from crate_transformer.training.precision import MixedPrecision, choose_precision, choose_products
from crate_transformer.training.processes import Processes, told_if_others_end
from crate_transformer.training.result import TrainResult
from crate_transformer.training.sharding import shard, whole
from crate_transformer.training.state import Divergence, State, find_state, load_state, note_divergence, save_state
from crate_transformer.training.state_tensors import check_room, state_tensors
from crate_transformer.training.stepper import NotFinite, Stepper
from crate_transformer.training.task import Batch, Task
from crate_transformer.training.tracking import Tracking
from crate_transformer.training.validation import Validation

RISE = 10.0
"""A run is stopped when its loss lies above the first one by this many times its size, and by this much at least."""


class Trainer:
    """``Trainer(task, folder, ...).run(batches)`` trains ``task`` in place; an unfinished run is gone on with.

    Writes ``metrics.jsonl`` and a resumable state into ``folder``: every ``execution.checkpoint_every`` steps, on
    Ctrl-C, and after the last step. Whoever has stored the trained model calls ``remove_states``. What is random
    depends on the seed and the places of the samples alone.

    Args:
        settings: what else, such as the data, must be the same for a run to be resumed; anything that JSON can hold.
        validate: numbers of a model on held-out data, the first one telling which model is better; called by all
            processes every ``loop.evaluate_every`` steps and at the end.
        keep_best: called by the main process with a model better than all before, the step and its numbers.
        overwrite: start anew where ``folder`` holds a run with other settings, instead of refusing it.

    Raises:
        ValueError: ``folder`` holds an unfinished run with other settings.
        OSError: the disk has too little room.
    """

    def __init__(
        self,
        task: Task,
        folder: Path,
        *,
        optimiser: OptimiserConfig,
        schedule: FittedSchedule,
        loop: LoopConfig,
        execution: ExecutionConfig,
        processes: Processes,
        settings: Mapping[str, object] | None = None,
        validate: Callable[[Model], dict[str, object]] | None = None,
        keep_best: Callable[[Model, int, dict[str, object]], None] | None = None,
        title: str = "training",
        overwrite: bool = False,
        show: bool = True,
    ) -> None:
        self.task, self.folder, self.processes, self.title = task, folder, processes, title
        self.optimiser, self.schedule, self.loop, self.execution = optimiser, schedule, loop, execution
        if task.whole_batches and execution.accumulate > 1:
            raise ValueError(
                f"accumulate is {execution.accumulate}: this objective looks at all pictures of a batch together, "
                "leave it at 1"
            )
        self.show = show and processes.is_main
        configs = {"optimiser": optimiser, "schedule": schedule, "loop": loop, "model": task.model.config}
        self.settings: dict[str, object] = {name: dataclasses.asdict(config) for name, config in configs.items()}
        self.settings |= {**(settings or {}), **task.fingerprint}
        self._prepare(processes.on_main(lambda: self._find(overwrite)))
        self.log = MetricsLog(folder, self.start, writing=processes.is_main)
        every = loop.evaluate_every
        self.validation = Validation(
            task, self.log, processes, validate, keep_best, steps=schedule.steps, every=every, patience=loop.patience
        )

    def _find(self, overwrite: bool) -> State | None:
        """The state to go on from; also tidies up after a killed process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = find_state(self.folder, self.settings, overwrite=overwrite)
        copies = self.execution.keep_states + 1
        check_room(self.folder, self.task, copies=copies, averaged=self.loop.ema_decay is not None)
        return state

    def _prepare(self, state: State | None) -> None:
        """Put everything on its device, divide it among processes, and load the state."""
        task, device, execution = self.task, self.processes.device, self.execution
        self.precision: MixedPrecision = choose_precision(self.loop.precision, task.model.embed_dim, device)
        self.products: MixedPrecision = choose_products(device)
        if state:
            self.precision, self.products = state.precision, state.products or self.products
        if self.precision == "fp16" and execution.sharding == "fsdp":
            raise ValueError("precision is fp16, which cannot be had with sharding: choose bf16 or float32")
        task.to(device)
        self.average = average_of(task.exported, self.loop.ema_decay) if self.loop.ema_decay else None
        self.complete: Model | None = None
        if execution.save_memory:
            task.model.set_grad_checkpointing(True)
        if execution.sharding == "fsdp":
            self.complete = deepcopy(task.exported)
            for module in filter(None, (task, self.average)):
                shard(module, device, self.processes.world_size)
        if execution.compile:
            task.compile_model()
        seed, parts = self.loop.seed, execution.accumulate
        self.stepper = Stepper(
            task, self.processes, self.optimiser, self.schedule, self.precision, self.products, seed, parts
        )
        self.state, self.start, self.restarts = state, 0, ()
        if state:
            load_state(self.folder, state, task, self.average, self.stepper.optimizers)
            self.stepper.restore_scale(state.loss_scale, state.loss_scale_steps)
            self.start, self.restarts = state.step, (*state.restarts, *filter(None, [state.diverged]))

    def run(self, batches: Callable[[int], Iterable[Batch]]) -> TrainResult:
        """Train to the end.

        Args:
            batches: ``batches(start_step)`` yields the batches of this process from that step on, always the same ones:
                ``execution.accumulate`` of them for each step.

        Raises:
            KeyboardInterrupt: after the state was saved, when the user asked to stop.
            ValueError: the loss or a gradient is not finite, or the loss has risen beyond hope; the weights are still
                those of the step before, the last state stays, and the run may go on from it with other learning rates.
            OSError: the state or the metrics cannot be written; an older state stays. Or another process ended.
        """
        steps, execution = self.schedule.steps, self.execution
        began = time.monotonic() - self.log.earlier_seconds
        step, source = self.start, iter(batches(self.start))
        self.log.send = tracking = Tracking(execution.tracker, self.folder, self.settings, step, self.processes)
        validation, window = self.validation, LogWindow(self.schedule.batch_size, self.task.samples)
        self.task.train()
        cuda = [self.processes.device] if self.processes.device.type == "cuda" else []
        line = ProgressLine(self.title, steps, self.start, show=self.show)
        with torch.random.fork_rng(cuda), stop_between_steps() as stop, line, told_if_others_end():
            if step < steps and validation.is_due(step) and step not in validation.values():
                self._validate(step, began)  # an earlier session was stopped before it did
            while step < steps and not validation.is_no_longer_better():
                try:
                    window.add(*self.stepper(source, step, window.waiting))
                except NotFinite as error:
                    self._stop_diverged(step + 1, str(error))
                if self.average is not None:
                    self.average.update_parameters(self.task.exported)
                step += 1
                stopping = stop_wanted(self.processes, stop)
                saving = stopping or step % execution.checkpoint_every == 0 or step == steps
                if step % execution.log_every == 0 or saving or validation.is_due(step):
                    self._write(window.close(self.processes), step, time.monotonic() - began)
                line.update(step, window.note)
                if saving:
                    self._save(step)
                if stopping:
                    raise KeyboardInterrupt("the same command goes on from here", stop.number)
                if validation.is_due(step):
                    self._validate(step, began)
                    window.start()
                    if validation.is_no_longer_better() and not saving:
                        self._save(step)
            if not validation.numbers:
                self._validate(step, began)
        tracking.finish()
        return self._result(step, time.monotonic() - began)

    def _validate(self, step: int, began: float) -> None:
        self.validation(self._plain_model(), step, time.monotonic() - began)
        self.task.train()

    def _write(self, numbers: dict[str, float], step: int, seconds: float) -> None:
        """A line of ``metrics.jsonl``; stops the run where its loss says that it will not recover."""
        loss, first = numbers["loss"], self.log.first_loss
        if not math.isfinite(loss):
            self._stop_diverged(step, f"the loss is {loss}")
        if first is not None and loss - first > RISE * max(1.0, abs(first)):
            self._stop_diverged(step, f"the loss has risen from {first:.3g} to {loss:.3g}")
        self.log.write(step=step, **numbers, learning_rate=self.stepper.learning_rate, seconds=seconds)

    def _plain_model(self) -> Model:
        """The model, or the average, as an ordinary module that every process has as a whole."""
        model = innermost(self.task.exported if self.average is None else self.average)
        if self.complete is None:
            return model
        self.complete.load_state_dict({name: whole(tensor) for name, tensor in model.state_dict().items()})
        return self.complete

    def _save(self, step: int) -> None:
        """Write a state; weights that are not finite end the run instead."""
        tensors = state_tensors(self.task, self.average, self.stepper.optimizers)
        if bad := next(filter(None, self.processes.gather(first_not_finite(tensors))), None):
            self._stop_diverged(step, f"{bad} is not finite")
        scale, scale_steps = self.stepper.loss_scale()
        self.state = State(
            step=step,
            run=self.settings,
            precision=self.precision,
            products=self.products,
            restarts=self.restarts,
            loss_scale=scale,
            loss_scale_steps=scale_steps,
        )
        save_state(self.processes, self.folder, self.state, tensors, keep=self.execution.keep_states)

    def _stop_diverged(self, step: int, reason: str) -> NoReturn:
        state, config = self.state, self.optimiser
        if state:
            diverged = Divergence(step=step, learning_rate=config.learning_rate)
            self.processes.on_main(lambda: note_divergence(self.folder, state, diverged))
        rates = f"{config.learning_rate:g}"
        if config.optimizer == "muon":
            rates += f", or a lower matrix learning rate than {config.matrix_learning_rate:g}"
        start = f"step {state.step}, or from 0 once {self.folder} is removed" if state else "step 0"
        raise ValueError(
            f"{reason} at step {step}: run it again with a lower learning rate than {rates}; it goes on from {start}"
        )

    def _result(self, step: int, seconds: float) -> TrainResult:
        return TrainResult(
            model=self._plain_model().eval(),
            steps=step,
            loss=self.log.loss,
            seconds=seconds,
            precision=self.precision,
            resumed_at=self.start,
            earlier_seconds=self.log.earlier_seconds,
            restarts=self.restarts,
            numbers=self.validation.numbers,
            best_step=self.validation.best_step(),
        )
