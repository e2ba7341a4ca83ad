"""A cache of features on disk."""

import os
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors.torch import save

from crate_transformer.checkpoints.reading import read_tensors
from crate_transformer.evaluation.features import ROWS, FrozenFeatures
from crate_transformer.storage import json_text, plain, write_file

_FORMAT = 1  # increased if the same settings give other features
_SIDES = ("reference", "reported")


def cached_features(
    folder: str | Path | None, made_of: Mapping[str, object], compute: Callable[[], FrozenFeatures]
) -> FrozenFeatures:
    """The features from ``folder`` if it has them for exactly these settings; otherwise computed and stored there.

    Args:
        folder: created if it does not exist; ``None`` disables the cache.
        made_of: everything that the features depend on: weights, images with labels, preprocessing, tokens.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be written; if possible, this is checked before the computation.
    """
    if folder is None:
        return compute()
    words = json_text(plain({"format": _FORMAT, **made_of}, None), sort_keys=True)
    file = Path(folder) / f"features-{sha256(words.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.safetensors"
    if file.exists():
        return _read(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(file.parent, os.W_OK):
        raise PermissionError(f"{file.parent} is read-only: choose another folder for the features")
    features = compute()
    tensors = {f"{side}_labels": getattr(features, f"{side}_labels") for side in _SIDES}
    tensors |= {f"{side}.{row}": x for side in _SIDES for row, x in getattr(features, side).items()}
    write_file(file, save({name: tensor.contiguous() for name, tensor in tensors.items()}))
    return features


def _read(file: Path) -> FrozenFeatures:
    tensors = read_tensors(file)[0]
    try:
        parts: dict[str, Any] = {f"{side}_labels": tensors[f"{side}_labels"] for side in _SIDES}
        parts |= {side: {row: tensors[f"{side}.{row}"] for row in ROWS} for side in _SIDES}
        return FrozenFeatures(**parts)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ValueError(f"{file} is damaged ({error}): remove it") from error
