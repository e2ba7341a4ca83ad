"""Reading checkpoint files of unknown origin without executing anything."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from crate_transformer.checkpoints.examine import MAX_EXPANSION, RefusedError, check_sizes, examine, naming
from crate_transformer.checkpoints.npz import NpzTensors
from crate_transformer.checkpoints.pickled import load_pickled, verify
from crate_transformer.storage import printable, read_record

_WRAPPERS = ("state_dict", "model", "model_state_dict")  # main.py of CRATE, Lightning; finetune.py, ToST; tutorials
INDEX = "model.safetensors.index.json"
_INSIDE = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


def read_tensors(
    path: Path, entry: str | None = None, max_expansion: int = MAX_EXPANSION
) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    """The weights in a ``.safetensors``, ``.npz`` or ``torch.save`` file, and the plain values stored beside them.

    The weights are unwrapped from their dictionary (``state_dict``, ``model``, ``model_state_dict``, or the only one
    with tensors), and name prefixes of ``torch.compile`` are removed; optimiser states are ignored. Values beside the
    weights are numbers and strings, such as the epoch. An index (``.safetensors.index.json``) is read with the files
    that it names.

    Args:
        entry: the dictionary to use if there are several, such as ``"model_ema"``; or a module in the names of the
            tensors, such as ``"encoder"`` for all ``encoder.*``.
        max_expansion: largest ratio of the size in memory to the size on disk.

    Raises:
        ValueError: the file is empty, truncated, damaged or not a checkpoint, contains Python objects other than plain
            values or unusual tensors, would take too much memory, or has no such entry.
    """
    if path.name.endswith(".safetensors.index.json"):
        return _choose(path, _read_shards(path, max_expansion), entry)
    loaded = _load(path, max_expansion)
    if isinstance(loaded, NpzTensors):
        if entry is not None:
            raise ValueError(f"{path} has no weights called {entry!r}: it contains a single set without a name")
        if not loaded:
            raise ValueError(f"{path} contains no tensors")
        return loaded, {}
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} contains a {type(loaded).__name__}, not a dictionary of tensors")
    tensors, beside = _choose(path, loaded, entry)
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
    return tensors, beside


def without_shared_prefix(path: Path, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The same tensors without the first part of their names (``module.``, ``model.``), if all names share it.

    Numbers beside them are left out, such as ``n_averaged`` of PyTorch's ``AveragedModel``.
    """
    parts = module_names(tensors)
    if len(parts) != 1 or any(tensors[key].ndim for key in tensors if "." not in key):
        return tensors
    inside = [key for key in tensors if "." in key]
    return _renamed(path, {key: tensors[key] for key in inside}, {key: key.partition(".")[2] for key in inside})


def module_names(tensors: Mapping[str, Tensor]) -> list[str]:
    """The first parts of the names that have several."""
    return list(dict.fromkeys(key.partition(".")[0] for key in tensors if "." in key))


def within(module: str, tensors: Mapping[Any, Any]) -> dict[str, Any]:
    """The tensors of a module, by their names in it."""
    inside = [key for key in tensors if isinstance(key, str) and key.startswith(f"{module}.")]
    return {key.removeprefix(f"{module}."): tensors[key] for key in inside}


@dataclass(frozen=True)
class _Index:
    """The part of an index that is read: the file of each tensor."""

    weight_map: dict[str, str]


def _read_shards(path: Path, max_expansion: int) -> dict[str, Tensor]:
    """The tensors of all files that an index names, which lie beside it."""
    places = read_record(path, _Index).weight_map
    if not places:
        raise ValueError(f"{path} names no tensors")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        file = path.parent / name
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(f"{path} names {printable(name)}, which is not a .safetensors file beside it")
        if not file.is_file():
            raise FileNotFoundError(f"{printable(str(file))} is missing: {path.name} names it")
        found, _ = read_tensors(file, max_expansion=max_expansion)
        if found.keys() != {_INSIDE.sub("", key) for key, place in places.items() if place == name}:
            raise ValueError(f"{file} has other tensors than {path.name} says: copy all files again")
        tensors |= found
    return tensors


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


def _choose(path: Path, loaded: Mapping[Any, Any], entry: str | None) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """The dictionary with the weights, and the plain values beside it."""
    sets = [name for name, value in loaded.items() if _holds_tensors(value)]
    wrapper = next((name for name in _WRAPPERS if isinstance(loaded.get(name), Mapping)), None)
    if entry in sets or (wrapper is None and len(sets) == 1):
        wrapper = entry if entry in sets else sets[0]
    if wrapper is None and sets and entry is None:
        raise ValueError(
            f"{path} contains several sets of weights, {', '.join(map(repr, sets))}: choose one with weights="
        )
    tensors = loaded if wrapper is None else loaded[wrapper]
    if entry is not None and wrapper != entry:
        tensors = within(entry, tensors)
        if not tensors:
            named = ", ".join(map(repr, sets)) or "a single set without a name"
            raise ValueError(f"{path} has no weights called {entry!r}: it contains {named}")
    return tensors, _plain_values(loaded) if sets or wrapper else {}


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
