"""NumPy ``.npz`` archives as tensors, read one at a time."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crate_transformer.checkpoints.examine import check_sizes, examine


class NpzTensors(Mapping[str, Tensor]):
    """The arrays of an ``.npz`` file as tensors, each read and checked on access.

    NumPy has no bfloat16: JAX stores such values as two bytes without a type, and these are read as bfloat16.

    Raises:
        ValueError: unpacked, the arrays would take more than ``max_expansion`` times the size of the file.
    """

    def __init__(self, path: Path, max_expansion: int) -> None:
        self.path = path
        with zipfile.ZipFile(path) as archive:
            check_sizes(path, (member.file_size for member in archive.infolist()), max_expansion)
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            self.names = dict.fromkeys(arrays.files)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.names:
            raise KeyError(name)
        try:
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                array = np.asarray(arrays[name])
            if array.dtype == np.dtype("V2"):
                tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
            else:
                tensor = torch.from_numpy(array)
        except MemoryError:
            raise
        except Exception as error:  # a broken archive may raise anything
            kind = "Python objects, which could run code" if "Object arrays" in str(error) else "no readable numbers"
            raise ValueError(f"array {name!r} is refused: it contains {kind}; nothing was executed") from error
        return examine(name, tensor)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
