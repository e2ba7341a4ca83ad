"""What a tensor or a file of unknown origin must be before a model is made of it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

MAX_EXPANSION = 16
"""How many times its size on disk a file may take in memory."""
_SMALL = 64 << 20  # bytes, which every file may take
_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


class RefusedError(ValueError):
    """What is refused in a sentence that says all: no reader puts its own in the place of it."""


@contextmanager
def naming(place: Path) -> Iterator[None]:
    """Begin the message of every ``ValueError`` inside with the file or folder that it is about."""
    try:
        yield
    except RefusedError:
        raise
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def examine(name: str, tensor: Tensor) -> Tensor:
    """The tensor, if it is an ordinary one: dense, in the memory of this machine, of numbers with 16 bits or more.

    Raises:
        ValueError: it is sparse, nested, quantised, without values (the device ``meta``), or of another type.
    """
    kind = (
        "nested" if tensor.is_nested
        else "quantised" if tensor.is_quantized
        else "sparse" if tensor.layout != torch.strided
        else "without values" if tensor.device.type != "cpu"
        else f"of type {tensor.dtype}" if tensor.dtype not in _FLOATS + _INTEGERS
        else None
    )  # fmt: skip
    if kind:
        raise ValueError(f"tensor {name!r} is {kind}: store dense values of float32, bfloat16 or another common type")
    return tensor


def check_sizes(path: Path, sizes: Iterable[int], max_expansion: int) -> None:
    """Refuse a file that asks for far more memory than it has bytes, before the memory is taken.

    Args:
        sizes: bytes that each of its tensors takes in memory.

    Raises:
        ValueError: together they are more than 64 MiB, and more than ``max_expansion`` times the file.
    """
    if not isinstance(max_expansion, int) or max_expansion < 1:
        raise RefusedError(f"max_expansion is {max_expansion!r}: give a whole number of times, at least 1")
    on_disk, claimed = path.stat().st_size, sum(sizes)
    if claimed > max(_SMALL, max_expansion * on_disk):
        raise RefusedError(
            f"{path} has {on_disk:,} bytes, but its tensors would take {claimed:,}: it is damaged or made to fill the "
            "memory; if you trust it, give a larger max_expansion="
        )
