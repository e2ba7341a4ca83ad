"""Measuring a model on held-out data while it is trained."""

import math
from collections.abc import Callable

from crate_transformer.models import Model
from crate_transformer.training.metrics import MetricsLog
from crate_transformer.training.processes import Processes
from crate_transformer.training.task import Task

Numbers = dict[str, object]


class Validation:
    """``validation(model, step, seconds)`` measures, keeps the best model and writes the numbers into the log.

    Which evaluations there were is read from the log, so a resumed run knows those of earlier sessions; one whose model
    could not be kept is not among them, and is repeated.

    Args:
        measure: numbers of a model; ``None`` never measures.
        keep_best: called by the main process with a model better than all before.
        every: steps between evaluations; only after ``steps`` unless given.
        patience: evaluations without a better one after which ``is_no_longer_better``.
    """

    def __init__(
        self,
        task: Task,
        log: MetricsLog,
        processes: Processes,
        measure: Callable[[Model], Numbers] | None,
        keep_best: Callable[[Model, int, Numbers], None] | None,
        *,
        steps: int,
        every: int | None,
        patience: int | None,
    ) -> None:
        self.log, self.processes, self.measure, self.keep_best = log, processes, measure, keep_best
        self.steps, self.every, self.patience = steps, every, patience
        self.name, self.better = task.measure, max if task.higher_is_better else min
        self.numbers: Numbers = {}
        """Those of the last evaluation."""

    def is_due(self, step: int) -> bool:
        """Whether the model is measured after so many steps."""
        wanted = step == self.steps or (self.every is not None and step > 0 and step % self.every == 0)
        return self.measure is not None and wanted

    def __call__(self, model: Model, step: int, seconds: float) -> None:
        if self.measure is None:
            return
        self.numbers, before = self.measure(model), self.values()
        if step in before:
            return
        if (keep := self.keep_best) is not None and self.every is not None and self._is_best(before):
            self.processes.on_main(lambda: keep(model, step, self.numbers))
        self.log.write(step=step, seconds=seconds, **self.numbers)

    def _is_best(self, before: dict[int, float]) -> bool:
        """Whether the last evaluation surpassed those before."""
        number = self.numbers.get(self.name)
        if not isinstance(number, int | float) or not math.isfinite(number):
            return False
        return all(number != other and self.better(number, other) == number for other in before.values())

    def values(self) -> dict[int, float]:
        """The number that tells which model is better, by step."""
        return self.log.values(self.name)

    def best_step(self) -> int | None:
        """The first evaluation that no other surpassed."""
        values = self.values()
        return self.better(values, key=values.__getitem__) if values else None

    def is_no_longer_better(self) -> bool:
        """Whether ``patience`` evaluations have passed since the best one."""
        if self.patience is None or (best := self.best_step()) is None:
            return False
        return sum(step > best for step in self.values()) >= self.patience
