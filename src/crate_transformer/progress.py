"""Progress of long tasks: a bar on a terminal, elsewhere a plain line from time to time, both with the time left."""

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crate_transformer.storage import printable

PLAIN_EVERY_SECONDS = 20.0

Item = TypeVar("Item")


class ProgressLine:
    """``with ProgressLine("CRATE", total) as line: line.update(done, "loss 1.2")``; silent when ``show`` is false.

    ``start`` is how much was done before, in other sessions. Outside a terminal, a task that ends before its first line
    is due prints only its note, if it has one.
    """

    def __init__(self, title: str, total: int, start: int = 0, *, show: bool = True) -> None:
        self.title, self.total, self.start, self.show = printable(title), total, start, show
        self._printed = False
        self._bar: Progress | None = None

    def __enter__(self) -> "ProgressLine":
        self._began = self._last_print = time.monotonic()
        if self.show and sys.stderr.isatty():
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            note = TextColumn("{task.fields[note]}", markup=False)
            self._bar = Progress(*columns, note, console=Console(stderr=True))
            self._task = self._bar.add_task(self.title, total=self.total, completed=self.start, note="")
            self._bar.start()
        return self

    def update(self, done: int, note: str = "") -> None:
        """Show that ``done`` of ``total`` are finished."""
        note = printable(note)
        if self._bar:
            self._bar.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        last = done == self.total and (note or self._printed)
        if self.show and (last or now - self._last_print > PLAIN_EVERY_SECONDS):
            self._last_print, self._printed = now, True
            left = (now - self._began) / max(1, done - self.start) * (self.total - done)
            notes = [note, f"{duration(left)} left"] if done < self.total else [note]
            print(f"{self.title} {done}/{self.total} {', '.join(filter(None, notes))}".rstrip(), file=sys.stderr)
            sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()


def tracked(title: str, items: Iterable[Item], total: int, *, show: bool = True) -> Iterator[Item]:
    """Yield the items and show how many of them have been processed."""
    with ProgressLine(title, total, show=show) as line:
        for number, item in enumerate(items, start=1):
            yield item
            line.update(number)


def duration(seconds: float) -> str:
    """``"40 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours = seconds // 60, seconds // 3600
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {seconds % 60} s"
