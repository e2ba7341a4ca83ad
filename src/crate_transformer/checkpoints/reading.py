"""Reading checkpoint files of unknown origin without executing anything in them."""

import argparse
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

_ALLOWED = [argparse.Namespace]  # plain holders of values that published checkpoints contain
_WRAPPERS = ("state_dict", "model")  # main.py of CRATE; finetune.py, the demo, CRATE-MAE, ToST
_PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile


class NpzTensors(Mapping[str, Tensor]):
    """The arrays of an ``.npz`` file as tensors, each read when it is asked for.

    NumPy has no bfloat16: JAX stores such values as two bytes without a type, and these are taken for bfloat16.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            self.names = dict.fromkeys(arrays.files)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.names:
            raise KeyError(name)
        try:
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                array = np.asarray(arrays[name])
            if array.dtype == np.dtype("V2"):
                return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
            return torch.from_numpy(array)
        except Exception as error:  # a broken archive may raise anything
            kind = "Python objects, which could run code" if "Object arrays" in str(error) else "no readable numbers"
            raise ValueError(f"array {name!r} is refused: it holds {kind}; nothing was executed") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def read_tensors(path: Path, entry: str | None = None) -> tuple[Mapping[str, Tensor], dict[str, object]]:
    """The weights in a ``.safetensors``, ``.npz`` or ``torch.save`` file, and the plain values stored beside them.

    The wrapping dictionary (``state_dict`` or ``model``) and the prefixes ``module.`` and ``_orig_mod.`` are taken
    off; optimiser states are left alone. Values beside the weights are numbers and strings, such as the epoch.

    Args:
        entry: the wrapping dictionary to take where there are several, such as ``"model_ema"``.

    Raises:
        ValueError: the file is empty, truncated, no checkpoint, holds Python objects other than plain values, or has no
            such entry.
    """
    loaded = _load(path)
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, not a dictionary of tensors")
    if entry is not None and not _holds_tensors(loaded.get(entry)):
        entries = ", ".join(repr(name) for name, value in loaded.items() if _holds_tensors(value))
        raise ValueError(f"{path} has no weights called {entry!r}; it has {entries or 'a single set, without a name'}")
    wrapper = entry or next((name for name in _WRAPPERS if isinstance(loaded.get(name), Mapping)), None)
    tensors = loaded[wrapper] if wrapper else loaded
    if not tensors:
        raise ValueError(f"{path} holds no tensors")
    if isinstance(tensors, NpzTensors):
        return tensors, {}
    for key, value in tensors.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError(f"{path} is no checkpoint of a known kind: its entry {key!r} is not a tensor")
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return dict(tensors), _plain_values(loaded) if wrapper else {}


def _load(path: Path) -> object:
    with path.open("rb") as stream:
        if not stream.read(1):
            raise ValueError(f"{path} is empty (0 bytes), not a checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            return NpzTensors(path)
        with torch.serialization.safe_globals(_ALLOWED):
            # mapped, so that optimiser states are never read
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a broken pickle may raise anything
        culprit = re.search(r"[Uu]nsupported (?:global: )?(?:GLOBAL|class) (\S{1,100})\s", str(error))
        if culprit:
            raise ValueError(
                f"{path} is refused: it holds {culprit[1]}, which is neither a tensor nor a plain value and could run "
                "code; nothing was executed"
            ) from error
        raise ValueError(f"{path} is not a readable checkpoint: truncated, or a file of another kind") from error


def _holds_tensors(entry: object) -> bool:
    return isinstance(entry, Mapping) and bool(entry) and all(isinstance(value, Tensor) for value in entry.values())


def _plain_values(loaded: Mapping[str, object]) -> dict[str, object]:
    scalars = {key: v.item() if isinstance(v, Tensor) and v.ndim == 0 else v for key, v in loaded.items()}
    return {str(key): value for key, value in scalars.items() if isinstance(value, str | int | float)}
