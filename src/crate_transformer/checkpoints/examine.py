"""Checks of tensors and files of unknown origin before a model is built from them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

MAX_EXPANSION = 16
"""Largest ratio of a file's size in memory to its size on disk."""
_SMALL = 64 << 20  # bytes that every file may take
_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


class RefusedError(ValueError):
    """An error with a final message: readers do not replace it with their own."""


@contextmanager
def naming(place: Path) -> Iterator[None]:
    """Prepend the file or folder to the message of every ``ValueError`` inside."""
    try:
        yield
    except RefusedError:
        raise
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def examine(name: str, tensor: Tensor) -> Tensor:
    """The tensor, if it is an ordinary one: dense, in CPU memory, of numbers with 16 bits or more.

    Raises:
        ValueError: it is sparse, nested, quantised, without values (on the ``meta`` device), or of another dtype.
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
        raise ValueError(f"tensor {name!r} is {kind}: store dense values of float32, bfloat16 or another common dtype")
    return tensor


def check_sizes(path: Path, sizes: Iterable[int], max_expansion: int) -> None:
    """Refuse a file whose tensors would take far more memory than the size of the file, before it is allocated.

    Args:
        sizes: size of each tensor in memory, in bytes.

    Raises:
        ValueError: the total is more than 64 MiB, and more than ``max_expansion`` times the size of the file.
    """
    if not isinstance(max_expansion, int) or max_expansion < 1:
        raise RefusedError(f"max_expansion is {max_expansion!r}: it must be an integer of at least 1")
    on_disk, claimed = path.stat().st_size, sum(sizes)
    if claimed > max(_SMALL, max_expansion * on_disk):
        raise RefusedError(
            f"{path} has {on_disk:,} bytes, but its tensors would take {claimed:,}: it is damaged or malicious; if you "
            "trust it, give a larger max_expansion="
        )
