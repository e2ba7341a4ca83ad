"""Reading checkpoint files of unknown origin without executing anything."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from crate_transformer.checkpoints.examine import MAX_EXPANSION, RefusedError, check_sizes, examine, naming
from crate_transformer.checkpoints.npz import NpzTensors
from crate_transformer.checkpoints.pickled import load_pickled, verify

_WRAPPERS = ("state_dict", "model", "model_state_dict")  # main.py of CRATE, Lightning; finetune.py, ToST; tutorials
_INSIDE = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


def read_tensors(
    path: Path, entry: str | None = None, max_expansion: int = MAX_EXPANSION
) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    """The weights in a ``.safetensors``, ``.npz`` or ``torch.save`` file, and the plain values stored beside them.

    The weights are unwrapped from their dictionary (``state_dict``, ``model``, ``model_state_dict``, or the only one
    with tensors), and name prefixes of ``torch.compile`` are removed; optimiser states are ignored. Values beside the
    weights are numbers and strings, such as the epoch.

    Args:
        entry: the dictionary to use if there are several, such as ``"model_ema"``.
        max_expansion: largest ratio of the size in memory to the size on disk.

    Raises:
        ValueError: the file is empty, truncated, damaged or not a checkpoint, contains Python objects other than plain
            values or unusual tensors, would take too much memory, or has no such entry.
    """
    loaded = _load(path, max_expansion)
    if isinstance(loaded, NpzTensors):
        if entry is not None:
            raise ValueError(f"{path} has no weights called {entry!r}: it contains a single set without a name")
        if not loaded:
            raise ValueError(f"{path} contains no tensors")
        return loaded, {}
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} contains a {type(loaded).__name__}, not a dictionary of tensors")
    wrapper = _wrapper(path, loaded, entry)
    tensors = loaded if wrapper is None else loaded[wrapper]
    if not tensors:
        raise ValueError(f"{path} contains no tensors")
    for key, value in tensors.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError(f"{path} is not a checkpoint in a known format: its entry {key!r} is not a tensor")
        with naming(path):
            examine(key, value)
    check_sizes(path, (tensor.numel() * tensor.element_size() for tensor in tensors.values()), max_expansion)
    verify(path, tensors)
    tensors = _renamed(path, tensors, {key: _INSIDE.sub("", key) for key in tensors})
    return tensors, {} if wrapper is None else _plain_values(loaded)


def without_shared_prefix(path: Path, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The same tensors without the first part of their names (``module.``, ``model.``), if all names share it."""
    first = f"{next(iter(tensors)).partition('.')[0]}."
    if not all(key.startswith(first) for key in tensors):
        return tensors
    return _renamed(path, tensors, {key: key.removeprefix(first) for key in tensors})


def _load(path: Path, max_expansion: int) -> object:
    with path.open("rb") as stream:
        if not stream.read(1):
            raise ValueError(f"{path} is empty (0 bytes), not a checkpoint")
    if path.suffix not in (".safetensors", ".npz"):
        return load_pickled(path)
    try:
        return load_file(path) if path.suffix == ".safetensors" else NpzTensors(path, max_expansion)
    except RefusedError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # a broken archive may raise anything
        raise ValueError(f"{path} is not a readable checkpoint: truncated, or in another format") from error


def _wrapper(path: Path, loaded: Mapping[Any, Any], entry: str | None) -> str | None:
    """The name of the dictionary with the weights; ``None`` if they are not wrapped."""
    holders = [name for name, value in loaded.items() if _holds_tensors(value)]
    if entry is not None:
        if entry not in holders:
            named = ", ".join(repr(name) for name in holders)
            raise ValueError(
                f"{path} has no weights called {entry!r}: it contains {named or 'a single set without a name'}"
            )
        return entry
    wrapper = next((name for name in _WRAPPERS if isinstance(loaded.get(name), Mapping)), None)
    if wrapper is None and len(holders) > 1:
        raise ValueError(
            f"{path} contains several sets of weights, {', '.join(map(repr, holders))}: choose one with weights="
        )
    return wrapper or next(iter(holders), None)


def _renamed(path: Path, tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    renamed = {names[key]: tensor for key, tensor in tensors.items()}
    if len(renamed) < len(tensors):
        raise ValueError(f"{path} contains two tensors whose names differ only in a wrapper's prefix")
    return renamed


def _holds_tensors(entry: object) -> bool:
    return isinstance(entry, Mapping) and bool(entry) and all(isinstance(value, Tensor) for value in entry.values())


def _plain_values(loaded: Mapping[object, object]) -> dict[str, Any]:
    found = {}
    for key, value in loaded.items():
        if isinstance(value, Tensor) and not value.is_nested and value.numel() == 1 and value.ndim == 0:
            try:
                value = examine(str(key), value).item()
            except ValueError:
                continue
        if isinstance(value, str | int | float):
            found[str(key)] = value
    return found
