"""Which 16-bit precisions are fast on this processor, by measurement."""

import functools
import time
from concurrent.futures import ThreadPoolExecutor

import torch

SIDES = {"cpu": 256, "cuda": 2048}  # of the matrices multiplied: less than a millisecond in float32
ROUNDS = 5


@functools.cache
def fast_products(dtype: torch.dtype, device_type: str = "cpu") -> bool:
    """Whether a matrix product in 16 bits is faster on this machine than in float32; measured once per process.

    With hardware support it takes a quarter to a half of the time; if emulated, 1.2 to 40 times as long. Devices other
    than CPU and CUDA are not measured: False.
    """
    if device_type not in SIDES:
        return False
    with ThreadPoolExecutor(1) as fresh:  # a new thread has no autocast, tracing or counting mode enabled
        seconds = fresh.submit(_seconds, dtype, device_type).result()
    return seconds[dtype] < 0.75 * seconds[torch.float32]


def _seconds(dtype: torch.dtype, device_type: str) -> dict[torch.dtype, float]:
    """The shortest time of several products in each precision, interleaved, so that other processes affect both
    equally."""
    side = SIDES[device_type]
    matrices = {kind: torch.ones(side, side, dtype=kind, device=device_type) for kind in (torch.float32, dtype)}
    shortest = dict.fromkeys(matrices, float("inf"))
    for _ in range(1 + ROUNDS):
        for kind, matrix in matrices.items():
            _wait(device_type)
            began = time.perf_counter()
            torch.mm(matrix, matrix)
            _wait(device_type)
            shortest[kind] = min(shortest[kind], time.perf_counter() - began)
    return shortest


def _wait(device_type: str) -> None:
    if device_type == "cuda":
        torch.cuda.synchronize()
