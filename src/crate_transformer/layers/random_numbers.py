"""Random numbers that depend only on the seed and the position of the sample. They are the same on every device, and
however a batch is split over steps and processes."""

from enum import IntEnum

import torch
from jaxtyping import Float32, Int64
from torch import Tensor


class Stream(IntEnum):
    """Independent streams of random numbers, one for each purpose."""

    MIX = 0
    MASK = 1
    MODEL = 2


def uniforms(
    seed: int, positions: Int64[Tensor, " batch"], count: int, stream: int
) -> Float32[Tensor, "batch {count}"]:
    """``count`` numbers in [0, 1) for each sample, multiples of 2^-24.

    Args:
        positions: Integers that identify the samples, such as their positions in the training sequence.
        stream: Separates different uses of a seed, see ``Stream``.
    """
    return draw(sample_seeds(seed, positions, stream), count)


def sample_seeds(seed: int, positions: Int64[Tensor, " batch"], stream: int) -> Int64[Tensor, " batch"]:
    """A seed for each sample, uniform over all 64-bit numbers."""
    key = _scramble(_scramble(positions.new_full((), seed) + _GOLDEN) + stream)
    return _scramble(positions * _GOLDEN + key)


def draw(seeds: Int64[Tensor, " batch"], count: int) -> Float32[Tensor, "batch {count}"]:
    """``count`` numbers in [0, 1) from each of these seeds: the upper 24 bits of SplitMix64, started at a multiple of
    the seed."""
    states = (seeds[:, None] + torch.arange(1, count + 1, device=seeds.device)) * _GOLDEN
    return _shift(_scramble(states), 40).to(torch.float32) * 2**-24


def _scramble(x: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """The output function of SplitMix64 (doi 10.1145/2660193.2660195): a bijection of 64-bit numbers."""
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def _shift(x: Int64[Tensor, "*shape"], bits: int) -> Int64[Tensor, "*shape"]:
    """Logical right shift: PyTorch's own shift is arithmetic."""
    return (x >> bits) & (2 ** (64 - bits) - 1)


_GOLDEN, _FIRST, _SECOND = (  # constants of SplitMix64 as int64; products wrap around
    constant - 2**64 for constant in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
