"""Stopping a run between two steps, when Ctrl-C or SIGTERM asks for it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from accelerate import Accelerator


@dataclass
class Stop:
    """Whether this process was asked to stop, and by which signal."""

    wanted: bool = False
    number: int = signal.SIGINT


def stop_wanted(accelerator: Accelerator, stop: Stop) -> bool:
    """Whether any process was asked to stop: all of them get the same answer at the same step."""
    if accelerator.num_processes == 1:
        return stop.wanted
    if stop.wanted:
        accelerator.set_trigger()
    return accelerator.check_trigger()


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
