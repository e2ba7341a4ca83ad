"""Interleaved timing, peak memory in processes of their own, and the machine's ceiling for matrix products."""

import ctypes
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import torch

from crate_transformer.benchmarks.cases import Case

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
Key = TypeVar("Key", bound=Hashable)


def interleave(
    runs: Mapping[Key, Callable[[], object]], *, repeats: int, device: torch.device, show: Callable[[str], None] = str
) -> dict[Key, list[float]]:
    """Seconds of every run, interleaved, so that what else the machine does falls on all of them alike.

    Each runs once before, uncounted.
    """
    seconds: dict[Key, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            show(f"{name}, turn {turn} of {repeats}")
            _wait(device)
            began = time.perf_counter()
            run()
            _wait(device)
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def time_cases(cases: Mapping[Key, Case], *, repeats: int, show: Callable[[str], None] = str) -> dict[Key, list[float]]:
    """Seconds of every case, interleaved; cases that differ only in what they are fed share a model."""
    shared = {}
    for case in cases.values():
        if case.same_module() not in shared:
            show(f"{case.implementation}: building")
            module = case.build()
            shared[case.same_module()] = module, case.optimizer(module)
    runs = {key: case.runner(*shared[case.same_module()], case.feed()) for key, case in cases.items()}
    return interleave(runs, repeats=repeats, device=torch.device(next(iter(cases.values())).device), show=show)


def keep_freed_memory() -> None:
    """From now on glibc gives no freed memory back, so that the system need not clear pages anew for every tensor.

    Raises:
        ValueError: this process has another allocator.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError) as error:
        raise ValueError("--keep-memory needs glibc, the C library of most Linux systems: leave it out here") from error
    for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):
        mallopt(option, value)


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


def peak_memory(case: Case) -> float:
    """Megabytes (10^6 bytes) that runs need beyond the built model and its input, in a fresh process.

    There glibc gives freed memory back at once; kept, it would hide a part of what the runs need.
    """
    command = [sys.executable, "-m", "crate_transformer.benchmarks.memory", type(case).__name__]
    done = subprocess.run(
        [*command, json.dumps(dataclasses.asdict(case))],
        capture_output=True,
        text=True,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise ValueError(
            f"measuring the memory of {case.implementation} failed ({reason}): try a smaller --batch or --no-memory"
        )
    return float(done.stdout.split()[-1])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
