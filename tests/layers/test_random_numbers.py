import math

import numpy as np
import pytest
import torch
from scipy import stats

from crate_transformer.layers.random_numbers import Stream, draw, sample_seeds, uniforms

MANY = 200_000
GOLDEN = 0x9E3779B97F4A7C15
SIGNIFICANCE = 1e-6  # the numbers are fixed: a correct generator passes or fails for good, with this probability


def split_mix(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)


def test_the_published_sequence():
    """SplitMix64 started at 1234567, as its reference implementation prints it."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    seed = 1234567 * pow(GOLDEN, -1, 2**64) % 2**64
    assert draw(torch.tensor([seed - 2**64 * (seed >= 2**63)]), 3)[0].tolist() == [
        (number >> 40) / 2**24 for number in expected
    ]


def test_the_tensors_are_the_arithmetic_of_whole_numbers():
    positions = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), 12345])
    for got, position in zip(sample_seeds(-7, positions, 3).tolist(), positions.tolist(), strict=True):
        key = split_mix((split_mix((GOLDEN - 7) % 2**64) + 3) % 2**64)
        assert got % 2**64 == split_mix((position * GOLDEN + key) % 2**64)


@pytest.mark.parametrize(
    "positions", [torch.arange(MANY), torch.arange(0, -MANY * 256, -256), torch.arange(MANY) << 40]
)
def test_the_numbers_are_uniform(positions):
    numbers = uniforms(0, positions, 4, Stream.MIX).double().numpy()
    assert numbers.min() >= 0 and numbers.max() < 1
    for column in numbers.T:
        assert stats.chisquare(np.bincount((column * 1000).astype(int), minlength=1000)).pvalue > SIGNIFICANCE
        low = (column * 2**24).astype(int) % 256
        assert stats.chisquare(np.bincount(low, minlength=256)).pvalue > SIGNIFICANCE
        assert abs(column.mean() - 0.5) < 5 / math.sqrt(12 * MANY)


def pairs():
    """Names and pairs of columns that must be independent."""
    positions = torch.arange(MANY)
    base = uniforms(0, positions, 3, 0)
    return {
        "columns": (base[:, 0], base[:, 1]),
        "neighbours": (base[:-1, 0], base[1:, 0]),
        "partners": (base[::2, 0], base[1::2, 0]),
        "next position, next column": (base[:-1, 1], base[1:, 0]),
        "streams": (base[:, 0], uniforms(0, positions, 1, 1)[:, 0]),
        "seeds": (base[:, 0], uniforms(1, positions, 1, 0)[:, 0]),
        "seed and stream": (uniforms(1, positions, 1, 0)[:, 0], uniforms(0, positions, 1, 1)[:, 0]),
        "seed and position": (base[1:, 0], uniforms(1, positions[:-1], 1, 0)[:, 0]),
        "seeds of samples": tuple(
            uniforms(0, sample_seeds(5, positions, stream), 1, 0)[:, 0] for stream in (Stream.MODEL, Stream.MASK)
        ),
    }


@pytest.mark.parametrize("name", pairs())
def test_positions_streams_and_seeds_are_independent(name):
    first, second = (column.double().numpy() for column in pairs()[name])
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(len(first))
    counts = np.bincount((first * 20).astype(int) * 20 + (second * 20).astype(int), minlength=400)
    assert stats.chisquare(counts).pvalue > SIGNIFICANCE


def test_no_two_samples_share_a_seed():
    assert len(sample_seeds(0, torch.arange(MANY), 0).unique()) == MANY


def test_a_part_has_the_numbers_of_the_whole():
    positions = torch.randint(-(2**62), 2**62, (64,))
    whole = uniforms(3, positions, 6, 2)
    assert torch.equal(whole[10:20], uniforms(3, positions[10:20], 6, 2))
    assert torch.equal(whole[:, :2], uniforms(3, positions, 2, 2))
    assert torch.equal(whole.flip(0), uniforms(3, positions.flip(0), 6, 2))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself
@pytest.mark.parametrize(
    "calls",
    [[(1, 0, 102)], pytest.param([(1, 0, 102), (-7, 1, 102), (2**32, 2, 102), (5, 3, 40)], marks=pytest.mark.slow)],
)
def test_compiled_and_eager_agree(calls):
    positions = torch.cat([torch.arange(-50, 50), torch.tensor([2**63 - 1, -(2**63)])])
    compiled = torch.compile(uniforms, fullgraph=True)
    for seed, stream, count in calls:
        assert torch.equal(compiled(seed, positions[:count], 5, stream), uniforms(seed, positions[:count], 5, stream))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_one_compiled_column_and_eager_agree():
    """The compiler works out indices beforehand, in whole numbers that do not wrap around."""
    seeds = torch.tensor([0, -1, 2**63 - 1, -(2**63), 12345])
    compiled = torch.compile(lambda seeds: draw(seeds, 9)[:, 8] * 2, fullgraph=True)
    assert torch.equal(compiled(seeds), draw(seeds, 9)[:, 8] * 2)


@pytest.mark.gpu
def test_a_gpu_has_the_same_numbers():
    positions = torch.randint(-(2**62), 2**62, (4096,))
    assert torch.equal(uniforms(3, positions.cuda(), 6, 2).cpu(), uniforms(3, positions, 6, 2))
