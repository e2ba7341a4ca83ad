"""How far a job of several stages is, and how long the rest will take."""

import sys
import time
from collections.abc import Mapping

from crate_transformer.progress import duration

DIFFERENT = 4.0  # a stage that took less than its expected time by this factor had been done before


class Stages:
    """``stages.begin("measuring")`` says on standard error which stage begins, and the time left.

    Args:
        expected: seconds of each stage, in their order; those to come are corrected by how long the others took.
    """

    def __init__(self, expected: Mapping[str, float], *, show: bool = True) -> None:
        self.expected, self.show = dict(expected), show
        self._stage: str | None = None
        self._seconds: dict[str, float] = {}

    def begin(self, stage: str) -> None:
        """End the stage before, and say that this one begins."""
        now = time.monotonic()
        if self._stage is not None:
            self._seconds[self._stage] = now - self._began
        self._stage, self._began = stage, now
        if self.show:
            number = list(self.expected).index(stage) + 1
            left = f"about {duration(self.seconds_left(stage))} left"
            print(f"stage {number} of {len(self.expected)}, {stage}; {left}", file=sys.stderr, flush=True)

    def seconds_left(self, stage: str) -> float:
        """From the beginning of ``stage`` to the end."""
        order = list(self.expected)
        rest = sum(self.expected[name] for name in order[order.index(stage) :])
        done = {name: took for name, took in self._seconds.items() if took > self.expected[name] / DIFFERENT}
        return rest * sum(done.values()) / sum(self.expected[name] for name in done) if done else rest
