"""The numbers of the steps between two lines of the log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from crate_transformer.training.processes import Processes


class LogWindow:
    """Collects loss and other numbers of each step, and how long the steps took and waited for their batches."""

    def __init__(self, batch_size: int, samples: str) -> None:
        self.batch_size, self.samples, self.note = batch_size, samples, ""
        self.start()

    def start(self) -> None:
        """Time counts from now."""
        self._steps: list[dict[str, Tensor]] = []
        self._began, self._waited = time.monotonic(), 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the wait for a batch."""
        began = time.monotonic()
        yield
        self._waited += time.monotonic() - began

    def add(self, loss: Tensor, numbers: dict[str, Tensor]) -> None:
        """The numbers of one step."""
        self._steps.append({"loss": loss, **numbers})

    def close(self, processes: Processes) -> dict[str, float]:
        """Means over the steps and all processes, samples per second, and the fraction of time waiting for data."""
        names = list(self._steps[0])
        values = torch.stack([torch.stack([step[name].float() for name in names]) for step in self._steps])
        means = dict(zip(names, processes.mean(values.mean(dim=0)).tolist(), strict=True))
        seconds = time.monotonic() - self._began
        speed = len(self._steps) * self.batch_size / seconds
        means[f"{self.samples}_per_second"] = speed
        means["waiting_for_data"] = self._waited / seconds
        self.note = f"loss {means['loss']:.3f}, {speed:.0f} {self.samples}/s"
        if means["waiting_for_data"] > 0.1:
            self.note += f", {means['waiting_for_data']:.0%} of the time waiting for data"
        self.start()
        return means
