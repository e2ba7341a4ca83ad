"""Reading checkpoint files of unknown origin without executing anything in them."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

_ALLOWED = [argparse.Namespace]  # plain holders of values that published checkpoints contain
_WRAPPERS = ("state_dict", "model")  # main.py of CRATE; finetune.py, the demo, CRATE-MAE, ToST


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """The weights in a ``.safetensors`` or ``torch.save`` file, and the plain values stored beside them.

    The wrapping dictionary (``state_dict`` or ``model``) and a ``module.`` prefix are taken off; optimiser states are
    left alone. Values beside the weights are numbers and strings, such as the epoch.

    Raises:
        ValueError: the file is empty, truncated, no checkpoint, or holds Python objects other than plain values.
    """
    loaded = _load(path)
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, not a dictionary of tensors")
    wrapper = next((name for name in _WRAPPERS if isinstance(loaded.get(name), Mapping)), None)
    tensors = loaded[wrapper] if wrapper else loaded
    if not tensors:
        raise ValueError(f"{path} holds no tensors")
    for key, value in tensors.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError(f"{path} is no checkpoint of a known kind: its entry {key!r} is not a tensor")
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return dict(tensors), _plain_values(loaded) if wrapper else {}


def _load(path: Path) -> object:
    with path.open("rb") as stream:
        if not stream.read(1):
            raise ValueError(f"{path} is empty (0 bytes), not a checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_ALLOWED):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken pickle may raise anything
        culprit = re.search(r"[Uu]nsupported (?:global: )?(?:GLOBAL|class) (\S{1,100})\s", str(error))
        if culprit:
            raise ValueError(
                f"{path} is refused: it holds {culprit[1]}, which is neither a tensor nor a plain value and could run "
                "code; nothing was executed"
            ) from error
        raise ValueError(f"{path} is not a readable checkpoint: truncated, or a file of another kind") from error


def _plain_values(loaded: Mapping[str, object]) -> dict[str, object]:
    scalars = {key: v.item() if isinstance(v, Tensor) and v.ndim == 0 else v for key, v in loaded.items()}
    return {str(key): value for key, value in scalars.items() if isinstance(value, str | int | float)}
