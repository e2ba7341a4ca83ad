"""Interleaved timing, peak memory in separate processes, and the machine's highest rate of matrix products."""

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
    runs: Mapping[Key, Callable[[], object]], *, repeats: int, device: torch.device, show: Callable[[str], object] = str
) -> dict[Key, list[float]]:
    """Seconds of every run, interleaved, so that other load on the machine affects all of them equally.

    Each has one warm-up run that is not counted.
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


def time_cases(
    cases: Mapping[Key, Case], *, repeats: int, show: Callable[[str], object] = str
) -> dict[Key, list[float]]:
    """Seconds of every case, interleaved; cases that differ only in their input share a model."""
    shared = {}
    for case in cases.values():
        if case.same_module() not in shared:
            show(f"{case.implementation}: building")
            module = case.build()
            shared[case.same_module()] = module, case.optimizer(module)
    runs = {}
    for key, case in cases.items():
        module, optimizer = shared[case.same_module()]
        runs[key] = case.runner(module, optimizer, case.feed())
    return interleave(runs, repeats=repeats, device=torch.device(next(iter(cases.values())).device), show=show)


def keep_freed_memory() -> None:
    """From now on glibc keeps freed memory, so that the system does not have to clear new pages for every tensor.

    Raises:
        ValueError: this process does not use glibc's allocator.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError) as error:
        raise ValueError("--keep-memory needs glibc, the C library of most Linux systems: leave it out here") from error
    for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):
        mallopt(option, value)


def median_ratio(reference: list[float], other: list[float]) -> float:
    """How many times faster ``other`` is: the median over repeats of the ratio within a repeat."""
    return statistics.median(a / b for a, b in zip(reference, other, strict=True))


def product_ceiling(size: int, dtype: torch.dtype, device: torch.device, *, repeats: int = 5) -> float:
    """Floating-point operations per second of the fastest of several matrix products with sides of ``size`` or more."""
    best = 0.0
    for rows in (size, 2 * size, 4 * size):
        a = torch.randn(rows, size, device=device).to(dtype)
        b = torch.randn(size, size, device=device).to(dtype)
        seconds = interleave({"product": lambda a=a, b=b: a @ b}, repeats=repeats, device=device)["product"]
        best = max(best, 2 * rows * size * size / min(seconds))
    return best


def peak_memory(case: Case) -> float:
    """Megabytes (10^6 bytes) that runs need in addition to the model and its input, in a new process.

    In that process glibc returns freed memory at once; otherwise a part of the need would be hidden.
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
