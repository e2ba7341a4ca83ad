"""Stopping a run between two steps, when Ctrl-C or SIGTERM asks for it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from crate_transformer.training.processes import Processes


@dataclass
class Stop:
    """Whether this process was asked to stop, and by which signal."""

    wanted: bool = False
    number: int = signal.SIGINT


def stop_wanted(processes: Processes, stop: Stop) -> bool:
    """Whether any process was asked to stop: all of them get the same answer at the same step."""
    if processes.world_size == 1:
        return stop.wanted
    return bool(processes.mean(torch.tensor(float(stop.wanted), device=processes.device)) > 0)


@contextlib.contextmanager
def stop_between_steps() -> Iterator[Stop]:
    """Turn the first Ctrl-C (or SIGTERM) into a wish that the loop reads between steps; the second one interrupts."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handler(number: int, _frame: object) -> None:
        if stop.wanted:
            raise KeyboardInterrupt
        stop.wanted, stop.number = True, number

    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
