"""Progress and remaining time of a job with several stages."""

import sys
import time
from collections.abc import Mapping

from crate_transformer.progress import duration

DIFFERENT = 4.0  # a stage that was faster than expected by this factor had been finished before


class Stages:
    """``stages.begin("measuring")`` prints the stage and the remaining time on standard error.

    Args:
        expected: seconds of each stage, in order; later stages are corrected by the time of the finished ones.
    """

    def __init__(self, expected: Mapping[str, float], *, show: bool = True) -> None:
        self.expected, self.show = dict(expected), show
        self._stage: str | None = None
        self._seconds: dict[str, float] = {}

    def begin(self, stage: str) -> None:
        """End the previous stage and begin this one."""
        now = time.monotonic()
        if self._stage is not None:
            self._seconds[self._stage] = now - self._began
        self._stage, self._began = stage, now
        if self.show:
            number = list(self.expected).index(stage) + 1
            left = f"about {duration(self.seconds_left(stage))} left"
            print(f"stage {number} of {len(self.expected)}, {stage}; {left}", file=sys.stderr, flush=True)

    def seconds_left(self, stage: str) -> float:
        """Seconds from the beginning of ``stage`` to the end of the job."""
        order = list(self.expected)
        rest = sum(self.expected[name] for name in order[order.index(stage) :])
        done = {name: took for name, took in self._seconds.items() if took > self.expected[name] / DIFFERENT}
        return rest * sum(done.values()) / sum(self.expected[name] for name in done) if done else rest
