"""Interleaved timing, peak memory in processes of their own, and the machine's ceiling for matrix products."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import torch


def interleave(
    cases: Mapping[str, Callable[[], object]], *, repeats: int, device: torch.device, show: Callable[[str], None] = str
) -> dict[str, list[float]]:
    """Seconds of every case, taken by turns, so that what else the machine does falls on all of them alike.

    Each case runs once before, uncounted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats + 1):
        for name, run in cases.items():
            show(f"{name}, turn {turn} of {repeats}")
            _wait(device)
            began = time.perf_counter()
            run()
            _wait(device)
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def median_ratio(reference: list[float], other: list[float]) -> float:
    """How many times faster ``other`` is: the median over turns of the ratio within a turn."""
    return statistics.median(a / b for a, b in zip(reference, other, strict=True))


def product_ceiling(size: int, dtype: torch.dtype, device: torch.device, *, repeats: int = 5) -> float:
    """Floating-point operations a second of the best of several square-ish products of side ``size`` and more."""
    best = 0.0
    for rows in (size, 2 * size, 4 * size):
        a = torch.randn(rows, size, device=device).to(dtype)
        b = torch.randn(size, size, device=device).to(dtype)
        seconds = interleave({"product": lambda a=a, b=b: a @ b}, repeats=repeats, device=device)["product"]
        best = max(best, 2 * rows * size * size / min(seconds))
    return best


def peak_memory(task: str, contender: str, settings: Mapping[str, str]) -> float:
    """Megabytes (10^6 bytes) that a run needs beyond the built model and its input, in a fresh process."""
    options = [part for name, value in settings.items() for part in (f"--{name}", value)]
    command = [sys.executable, "-m", "crate_transformer.benchmarks.memory", "--task", task, "--contender", contender]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {contender} failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.split()[-1])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
