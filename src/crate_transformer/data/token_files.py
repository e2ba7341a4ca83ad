"""Token ids in files, any range of which can be read without the rest."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Integer
from safetensors import SafetensorError, safe_open

from crate_transformer.storage import open_file

ARRAYS = (".npy", ".bin", ".safetensors")
_BLOCK = 1 << 22  # tokens read at a time when all are examined


@runtime_checkable
class TokenArray(Protocol):
    """A one-dimensional array of token ids."""

    def __len__(self) -> int: ...

    def __getitem__(self, stretch: slice, /) -> Integer[np.ndarray, " tokens"]: ...


@dataclass(frozen=True)
class PlainFile:
    """Consecutive numbers in a file, starting at ``offset`` bytes."""

    path: Path
    dtype: np.dtype
    offset: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, stretch: slice) -> Integer[np.ndarray, " tokens"]:
        start, stop, _ = stretch.indices(self.count)
        with open_file(self.path) as stream:
            stream.seek(self.offset + start * self.dtype.itemsize)
            content = stream.read((stop - start) * self.dtype.itemsize)
        if len(content) < (stop - start) * self.dtype.itemsize:
            raise ValueError(f"{self.path} was truncated while it was read")
        return np.frombuffer(content, self.dtype)


@dataclass(frozen=True)
class TensorFile:
    """The only tensor of a safetensors file."""

    path: Path
    name: str
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, stretch: slice) -> Integer[np.ndarray, " tokens"]:
        start, stop, _ = stretch.indices(self.count)
        try:
            with safe_open(self.path, "numpy") as file:
                return file.get_slice(self.name)[start:stop]
        except SafetensorError as error:
            raise ValueError(f"{self.path} changed while it was read: {error}") from error


def open_array(path: Path) -> TokenArray:
    """Token ids in a .npy file, nanoGPT's .bin format (16-bit integers), or a .safetensors file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is damaged, or is not a one-dimensional array of integers.
    """
    with open_file(path) as stream:
        size = stream.seek(0, 2)
    if path.suffix.lower() == ".bin":
        if size % 2:
            raise ValueError(f"{path} has {size:,} bytes, so it is not an array of 16-bit integers")
        return PlainFile(path, np.dtype("<u2"), 0, size // 2)
    try:
        found, shape, kind, whole = _npy(path) if path.suffix.lower() == ".npy" else _tensor(path)
    except (ValueError, EOFError, SafetensorError) as error:
        raise ValueError(f"{path} is not a readable array: {error}") from error
    if len(shape) != 1 or not whole:
        raise ValueError(f"{path} contains {kind} of shape {list(shape)}: give a one-dimensional array of integers")
    return found


def _npy(path: Path) -> tuple[PlainFile, tuple[int, ...], str, bool]:
    array = np.lib.format.open_memmap(path, mode="r")  # refuses pickled objects and files that are too short
    found = PlainFile(path, array.dtype, array.offset, array.size)
    return found, array.shape, str(array.dtype), array.dtype.kind in "iu"


def _tensor(path: Path) -> tuple[TensorFile, tuple[int, ...], str, bool]:
    with safe_open(path, "numpy") as file:
        names = list(file.keys())
        if len(names) != 1:
            raise ValueError(f"it contains {len(names)} tensors instead of one")
        kept = file.get_slice(names[0])
        kind, shape = kept.get_dtype(), tuple(kept.get_shape())
    return TensorFile(path, names[0], int(np.prod(shape))), shape, kind, kind[0] in "UI"


def examine(array: TokenArray) -> tuple[int, int, str]:
    """The smallest id (or 0), the largest id, and 16 hex digits that depend on all ids; the array is read once."""
    digest, least, most = hashlib.sha256(), 0, 0
    for start in range(0, len(array), _BLOCK):
        block = array[start : start + _BLOCK]
        digest.update(np.ascontiguousarray(block).data)
        least, most = min(least, int(block.min())), max(most, int(block.max()))
    return least, most, digest.hexdigest()[:16]
