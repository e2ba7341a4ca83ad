"""The one training loop."""

import dataclasses
import math
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from crate_transformer.progress import ProgressLine
from crate_transformer.training.config import TrainConfig
from crate_transformer.training.interrupt import stop_between_steps, stop_wanted
from crate_transformer.training.metrics import MetricsLog
from crate_transformer.training.optimisers import build_optimizers
from crate_transformer.training.precision import choose_precision
from crate_transformer.training.schedule import scale_learning_rates, warmup_cosine
from crate_transformer.training.state import (
    Divergence,
    State,
    find_state,
    first_not_finite,
    load_state,
    note_divergence,
    save_state,
    state_tensors,
)

LOG_EVERY = 50

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TrainResult:
    """What a run came to; ``seconds`` are those spent in the loop, over all sessions of a resumed run.

    ``restarts`` tells where the run diverged before it went on with lower learning rates.
    """

    steps: int
    loss: float
    seconds: float
    precision: str
    resumed_at: int
    earlier_seconds: float
    restarts: tuple[Divergence, ...] = ()


def train(
    model: nn.Module,
    loss: Callable[[nn.Module, Batch], Tensor],
    batches: Callable[[int, int, int], Iterable[Batch]],
    config: TrainConfig,
    folder: Path,
    *,
    steps: int,
    title: str = "training",
    settings: Mapping[str, object] | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    show: bool = True,
) -> TrainResult:
    """Train ``model`` in place; resumes by itself where ``folder`` holds an unfinished run.

    Writes ``metrics.jsonl`` and a resumable state: every ``config.checkpoint_every`` steps, on Ctrl-C, and after the
    last step. Whoever has stored the trained model calls ``remove_states``. What is random in the model (stochastic
    depth, masks) depends on ``config.seed``, the step and the rank alone.

    Args:
        loss: ``loss(model, batch)``, a scalar.
        batches: ``batches(start_step, rank, world_size)`` yields the batches from that step on, always the same ones.
        settings: what else, such as the data, must be the same for a run to be resumed; anything that JSON can hold.
        evaluate: called with the model at the end; its numbers go into ``metrics.jsonl``.

    Raises:
        KeyboardInterrupt: after the state was saved, when the user asked to stop.
        ValueError: the loss or a weight is no longer finite; the last state stays, and the run may go on from it with
            other learning rates. Or ``folder`` holds an unfinished run with other settings.
        OSError: the state or the metrics cannot be written, or the disk has too little room; an older state stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    AcceleratorState._reset_state()  # an earlier run of this process may have had another precision
    accelerator = Accelerator()
    run = {**dataclasses.asdict(config), "steps": steps, "model": dataclasses.asdict(model.config), **(settings or {})}

    with accelerator.main_process_first():  # who reads a state also tidies up after a killed process
        state = find_state(folder, run)
    precision = state.precision if state else choose_precision(config, model.embed_dim, accelerator.device)
    AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision=precision)
    check_room(folder, model)
    wrapped, *optimizers = accelerator.prepare(model, *build_optimizers(model, config, accelerator.device))
    start, restarts = 0, ()
    if state:
        load_state(folder, state, model, optimizers)
        start, restarts = state.step, (*state.restarts, *filter(None, [state.diverged]))
    log = MetricsLog(folder, start, writing=accelerator.is_main_process)

    wrapped.train()
    began, mean_loss, step = time.monotonic() - log.seconds, log.loss, start
    recent: list[Tensor] = []
    rank, ranks = accelerator.process_index, accelerator.num_processes
    warmup_steps = config.num_warmup_steps(steps)
    own_random_numbers = torch.random.fork_rng([accelerator.device] if accelerator.device.type == "cuda" else [])
    line = ProgressLine(title, steps, start, show=show and accelerator.is_main_process)
    with own_random_numbers, stop_between_steps() as stop, line:
        for step, batch in enumerate(batches(start, rank, ranks), start + 1):
            torch.manual_seed(step_seed(config.seed, step, rank))
            scale_learning_rates(optimizers, warmup_cosine(step - 1, warmup_steps, steps))
            batch = tuple(part.to(accelerator.device, non_blocking=True) for part in batch)
            with accelerator.autocast():
                value = loss(wrapped, batch)
            accelerator.backward(value)
            if config.clip_grad_norm:
                accelerator.clip_grad_norm_(wrapped.parameters(), config.clip_grad_norm)
            for optimizer in optimizers:
                optimizer.step()
            wrapped.zero_grad()
            recent.append(value.detach())
            stopping = stop_wanted(accelerator, stop)
            saving = stopping or step % config.checkpoint_every == 0 or step == steps
            if step % LOG_EVERY == 0 or saving:
                mean_loss = accelerator.reduce(torch.stack(recent).mean(), "mean").item()
                recent.clear()
                bad = f"the loss is {mean_loss}" if not math.isfinite(mean_loss) else ""
                if saving and not bad and (name := first_not_finite(state_tensors(model, optimizers))):
                    bad = f"{name} is not finite"
                if bad:
                    if state and accelerator.is_main_process:
                        note_divergence(folder, state, Divergence(step=step, learning_rate=config.learning_rate))
                    rates = f"{config.learning_rate:g}"
                    if config.optimizer == "muon":
                        rates += f", or a lower matrix learning rate than {config.matrix_learning_rate:g}"
                    start = f"step {state.step}, or from 0 once {folder} is removed" if state else "step 0"
                    raise ValueError(
                        f"{bad} at step {step}: run it again with a lower learning rate than {rates}; "
                        f"it goes on from {start}"
                    )
                learning_rate = optimizers[0].param_groups[0]["lr"]
                log.write(step=step, loss=mean_loss, learning_rate=learning_rate, seconds=time.monotonic() - began)
            line.update(step, f"loss {mean_loss:.3f}" if math.isfinite(mean_loss) else "")
            if saving:
                state = State(step=step, run=run, precision=precision, restarts=restarts)
                save_state(accelerator, folder, state, model, optimizers)
            if stopping:
                raise KeyboardInterrupt("the same command goes on from here", stop.number)
    seconds = time.monotonic() - began
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False).eval()
    if evaluate:
        log.write(step=step, seconds=seconds, **evaluate(model))
    return TrainResult(
        steps=step,
        loss=mean_loss,
        seconds=seconds,
        precision=precision,
        resumed_at=start,
        earlier_seconds=log.seconds,
        restarts=restarts,
    )


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seeds everything that is random in one step of one process, apart from its batch."""
    return int(np.random.SeedSequence((seed, step, rank, 1)).generate_state(1, np.uint64)[0])


def check_room(folder: Path, model: nn.Module) -> None:
    """``OSError`` unless the disk takes two states, since the older one is removed last.

    A state holds the weights and two tensors for each of them.
    """
    needed = 2 * 3 * sum(tensor.nbytes for tensor in model.state_dict().values())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"{folder} has room for {free / 1e6:,.0f} MB and this run needs {needed / 1e6:,.0f} MB: "
            "make room or choose another output folder"
        )
