"""Which precisions this processor multiplies in hardware, by measurement."""

import functools
import time
from concurrent.futures import ThreadPoolExecutor

import torch

SIDES = {"cpu": 256, "cuda": 2048}  # of the matrices multiplied: less than a millisecond in float32
ROUNDS = 5


@functools.cache
def fast_products(dtype: torch.dtype, device_type: str = "cpu") -> bool:
    """Whether a matrix product in 16 bits is faster here than one in float32; measured once per process.

    With 16-bit products in hardware it takes a quarter to a half of the time; where they are emulated, 1.2 to 40 times
    as long. Kinds of devices other than CPUs and CUDA's are not measured: False.
    """
    if device_type not in SIDES:
        return False
    with ThreadPoolExecutor(1) as fresh:  # a thread of its own: no autocast, no tracing, no counting mode is on there
        seconds = fresh.submit(_seconds, dtype, device_type).result()
    return seconds[dtype] < 0.75 * seconds[torch.float32]


def _seconds(dtype: torch.dtype, device_type: str) -> dict[torch.dtype, float]:
    """The shortest of some products in each precision, interleaved, so that other processes disturb both alike."""
    side = SIDES[device_type]
    matrices = {kind: torch.ones(side, side, dtype=kind, device=device_type) for kind in (torch.float32, dtype)}
    shortest = dict.fromkeys(matrices, float("inf"))
    for _ in range(1 + ROUNDS):
        for kind, matrix in matrices.items():
            _wait(device_type)
            began = time.perf_counter()
            matrix @ matrix
            _wait(device_type)
            shortest[kind] = min(shortest[kind], time.perf_counter() - began)
    return shortest


def _wait(device_type: str) -> None:
    if device_type == "cuda":
        torch.cuda.synchronize()
