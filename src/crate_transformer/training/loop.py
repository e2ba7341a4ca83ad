"""The one training loop."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from crate_transformer.training.config import TrainConfig
from crate_transformer.training.metrics import MetricsLog
from crate_transformer.training.optimisers import build_optimizers, warmup_cosine
from crate_transformer.training.progress import ProgressLine
from crate_transformer.training.state import find_state, load_state, save_state, stop_between_steps, stop_wanted

LOG_EVERY = 50
BF16_WIDTH_ON_CPU = 64  # measured on an AVX512-BF16 CPU, docs/results.md

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TrainResult:
    """What a run came to; ``seconds`` are those spent in the loop, over all sessions of a resumed run."""

    steps: int
    loss: float
    seconds: float
    precision: str
    resumed_at: int
    earlier_seconds: float


def choose_precision(config: TrainConfig, width: int, device: torch.device) -> str:
    """``"bf16"`` or ``"no"`` in Accelerate's words; see ``TrainConfig.precision``."""
    if config.precision != "auto":
        return {"bf16": "bf16", "float32": "no"}[config.precision]
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    has_products = device.type == "cpu" and torch.backends.mkldnn.is_available() and cpu_has_bf16()
    return "bf16" if has_products and width >= BF16_WIDTH_ON_CPU else "no"


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


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
    last step. Whoever has stored the trained model calls ``remove_states``.

    Args:
        loss: ``loss(model, batch)``, a scalar.
        batches: ``batches(start_step, rank, world_size)`` yields the batches from that step on, always the same ones.
        settings: what else, such as the data, must be the same for a run to be resumed; anything that JSON can hold.
        evaluate: called with the model at the end; its numbers go into ``metrics.jsonl``.

    Raises:
        KeyboardInterrupt: after the state was saved, when the user asked to stop.
        ValueError: the loss is no longer finite, or ``folder`` holds an unfinished run with other settings.
        OSError: the state or the metrics cannot be written; an older state stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    AcceleratorState._reset_state()  # an earlier run of this process may have had another precision
    precision = choose_precision(config, model.embed_dim, Accelerator().device)
    AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision=precision)
    fingerprint = {**dataclasses.asdict(config), "steps": steps, "model": dataclasses.asdict(model.config)}
    fingerprint |= settings or {}

    optimizers = build_optimizers(model, config)
    schedulers = [warmup_cosine(optimizer, config.warmup_steps, steps) for optimizer in optimizers]
    found = find_state(folder, fingerprint)
    wrapped, *optimizers = accelerator.prepare(model, *optimizers)
    accelerator.register_for_checkpointing(*schedulers)
    start = 0
    if found:
        load_state(accelerator, found[0])
        start = found[1]
    log = MetricsLog(folder, start, writing=accelerator.is_main_process)

    wrapped.train()
    began, mean_loss, step = time.monotonic() - log.seconds, log.loss, start
    recent: list[Tensor] = []
    with stop_between_steps() as stop, ProgressLine(title, steps, show=show and accelerator.is_main_process) as line:
        for step, batch in enumerate(batches(start, accelerator.process_index, accelerator.num_processes), start + 1):
            batch = tuple(part.to(accelerator.device, non_blocking=True) for part in batch)
            with accelerator.autocast():
                value = loss(wrapped, batch)
            accelerator.backward(value)
            if config.clip_grad_norm:
                accelerator.clip_grad_norm_(wrapped.parameters(), config.clip_grad_norm)
            learning_rate = schedulers[0].get_last_lr()[0]
            for stepper in (*optimizers, *schedulers):
                stepper.step()
            wrapped.zero_grad()
            recent.append(value.detach())
            stopping = stop_wanted(accelerator, stop)
            saving = stopping or step % config.checkpoint_every == 0 or step == steps
            if step % LOG_EVERY == 0 or saving:
                mean_loss = accelerator.reduce(torch.stack(recent).mean(), "mean").item()
                recent.clear()
                if not math.isfinite(mean_loss):
                    raise ValueError(f"the loss is {mean_loss} at step {step}: lower the learning rate {learning_rate}")
                log.write(step=step, loss=mean_loss, learning_rate=learning_rate, seconds=time.monotonic() - began)
            line.update(step, f"loss {mean_loss:.3f}" if math.isfinite(mean_loss) else "")
            if saving:
                save_state(accelerator, folder, step, fingerprint)
            if stopping:
                raise KeyboardInterrupt
    seconds = time.monotonic() - began
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False).eval()
    if evaluate:
        log.write(step=step, seconds=seconds, **evaluate(model))
    return TrainResult(
        steps=step, loss=mean_loss, seconds=seconds, precision=precision, resumed_at=start, earlier_seconds=log.seconds
    )
