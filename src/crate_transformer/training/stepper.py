"""One step of the optimisers."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import FittedSchedule
from crate_transformer.training.diagnosis import blame
from crate_transformer.training.optimisers import build_optimizers
from crate_transformer.training.precision import MixedPrecision
from crate_transformer.training.processes import Processes
from crate_transformer.training.schedule import scale_learning_rates, step_seed, warmup_cosine
from crate_transformer.training.sharding import is_sharded, whole
from crate_transformer.training.task import Batch, Progress, Task

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class NotFinite(ValueError):  # noqa: N818 -- says what is the case
    """The loss or a gradient is not finite; the weights are still those of the step before."""


class Stepper:
    """``stepper(batches, step, waiting)`` moves the task's parameters once; the loss and other numbers are returned.

    Gradients are averaged over the processes, unless ``task`` is sharded, where PyTorch's FSDP2 does so by itself.

    Args:
        products: precision of the optimiser's products.
        seed: of the run.
        parts: batches that make one step together.
    """

    def __init__(
        self,
        task: Task,
        processes: Processes,
        optimiser: OptimiserConfig,
        schedule: FittedSchedule,
        precision: MixedPrecision,
        products: MixedPrecision,
        seed: int,
        parts: int,
    ) -> None:
        self.task, self.processes, self.schedule = task, processes, schedule
        self.seed, self.parts, self.largest_norm = seed, parts, optimiser.clip_grad_norm
        self.parameters = [parameter for parameter in task.parameters() if parameter.requires_grad]
        self.optimizers = build_optimizers(task, optimiser, products)
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=precision == "fp16")
        self.dtype = _DTYPES.get(precision)
        self.objective: nn.Module = task
        if processes.world_size > 1 and not is_sharded(task):
            self.objective = DistributedDataParallel(task)

    @property
    def learning_rate(self) -> float:
        """Of the first parameters, in the last step."""
        return self.optimizers[0].param_groups[0]["lr"]

    def __call__(
        self, batches: Iterator[Batch], step: int, waiting: Callable[[], AbstractContextManager]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        schedule, progress = self.schedule, Progress(step, self.schedule.steps, self.seed)
        torch.manual_seed(step_seed(self.seed, step, self.processes.rank))
        factor = warmup_cosine(step, schedule.warmup_steps, schedule.steps, schedule.final_learning_rate)
        scale_learning_rates(self.optimizers, factor)
        batch: Batch = {}
        total, sums = torch.zeros((), device=self.processes.device), {}
        for part in range(self.parts):
            with waiting():
                batch = next(batches)
            batch = {name: value.to(self.processes.device, non_blocking=True) for name, value in batch.items()}
            with self._exchange_later(part):
                with torch.autocast(self.processes.device.type, self.dtype, enabled=self.dtype is not None):
                    loss, numbers = self.objective(batch, progress)
                self.scaler.scale(loss / self.parts).backward()
            total += loss.detach() / self.parts
            for name, value in numbers.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / self.parts
        self._move(total, batch, progress)
        self.task.after_step(progress)
        return total, sums

    def _exchange_later(self, part: int) -> AbstractContextManager:
        """Leaves the exchange of gradients to the last part of a batch."""
        if part + 1 < self.parts and isinstance(self.objective, DistributedDataParallel):
            return self.objective.no_sync()
        return nullcontext()

    def _move(self, loss: Tensor, batch: Batch, progress: Progress) -> None:
        """Let the optimisers move the weights, unless a gradient is not finite."""
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        scale_is_too_large = self.scaler.is_enabled() and self.scaler.get_scale() > 1
        if not math.isfinite(whole(norm).item()) and not scale_is_too_large:
            own = math.isfinite(loss.item())
            found = blame(self.task, self.processes.mean(loss), batch, progress)
            raise NotFinite(min(self.processes.gather((own, found)))[1])  # a process whose own loss it is knows more
        if self.largest_norm:
            nn.utils.clip_grads_with_norm_(self.parameters, self.largest_norm, norm)
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
            optimizer.zero_grad()
        self.scaler.update()

    def loss_scale(self) -> tuple[float, int]:
        """The factor of the loss in fp16, and for how many steps it has been good; zeros in other precisions."""
        state = self.scaler.state_dict()
        return state.get("scale", 0.0), state.get("_growth_tracker", 0)

    def restore_scale(self, scale: float, steps: int) -> None:
        """Go on from what ``loss_scale`` gave."""
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(self.scaler.state_dict() | {"scale": scale, "_growth_tracker": steps})
