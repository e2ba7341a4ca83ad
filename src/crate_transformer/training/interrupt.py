"""Stopping a run between two steps, when Ctrl-C or SIGTERM asks for it."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from crate_transformer.training.processes import Processes

SAME_WISH = 1.0
"""Seconds in which a second signal is the same wish: of Ctrl-C a process learns from the terminal and from torchrun."""


@dataclass
class Stop:
    """Whether this process was asked to stop, by which signal and when."""

    wanted: bool = False
    number: int = signal.SIGINT
    since: float = 0.0


def stop_wanted(processes: Processes, stop: Stop) -> bool:
    """Whether any process was asked to stop: all of them get the same answer at the same step."""
    if processes.world_size == 1:
        return stop.wanted
    return bool(processes.mean(torch.tensor(float(stop.wanted), device=processes.device)) > 0)


@contextlib.contextmanager
def stop_between_steps() -> Iterator[Stop]:
    """Turn the first Ctrl-C (or SIGTERM) into a wish that the loop reads between steps; a later one interrupts."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handler(number: int, _frame: object) -> None:
        if not stop.wanted:
            stop.wanted, stop.number, stop.since = True, number, time.monotonic()
        elif time.monotonic() - stop.since > SAME_WISH:
            raise KeyboardInterrupt("the same command goes on from the last state, if there is one", number)

    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
