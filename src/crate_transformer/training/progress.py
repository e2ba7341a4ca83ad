"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_EVERY_SECONDS = 20.0


class ProgressLine:
    """``with ProgressLine("CRATE", total) as line: line.update(done, "loss 1.2")``; silent when ``show`` is false."""

    def __init__(self, title: str, total: int, *, show: bool = True) -> None:
        self.title, self.total, self.show = title, total, show
        self._bar: Progress | None = None
        self._last_print = time.monotonic()

    def __enter__(self) -> "ProgressLine":
        if self.show and sys.stderr.isatty():
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            self._bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True))
            self._task = self._bar.add_task(self.title, total=self.total, note="")
            self._bar.start()
        return self

    def update(self, done: int, note: str = "") -> None:
        """Say that ``done`` of ``total`` are finished."""
        if self._bar:
            self._bar.update(self._task, completed=done, note=note)
        elif self.show and (done == self.total or time.monotonic() - self._last_print > PLAIN_EVERY_SECONDS):
            self._last_print = time.monotonic()
            print(f"{self.title} {done}/{self.total} {note}".rstrip(), file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
