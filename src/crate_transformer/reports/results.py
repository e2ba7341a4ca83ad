"""Machine-readable results, written whole or not at all."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

SIGNIFICANT_DIGITS = 6


def write_json(path: str | Path, data: object) -> None:
    """Write ``data`` with sorted keys, whole or not at all.

    Mappings, sequences, sets, dataclasses, numpy arrays and scalars, and paths may be nested in any way. Floats are
    rounded to six significant digits (large ones to integers), and one that is not finite becomes ``null``.

    Raises:
        ValueError: ``data`` holds something else.
        OSError: the file could not be written; what was there before stays.
    """
    write_whole(path, (json.dumps(plain(data), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def plain(data: object) -> object:
    """``data`` in the types that JSON knows."""
    if data is None or isinstance(data, (str, bool, int)):
        return data
    if isinstance(data, float):
        if not math.isfinite(data):
            return None
        return float(f"{data:.{SIGNIFICANT_DIGITS}g}") if abs(data) < 10**SIGNIFICANT_DIGITS else float(round(data))
    if isinstance(data, (np.ndarray, np.generic)):
        return plain(data.tolist())
    if isinstance(data, Path):
        return str(data)
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return {field.name: plain(getattr(data, field.name)) for field in dataclasses.fields(data)}
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, (set, frozenset)):
        return sorted(map(plain, data))
    if isinstance(data, (list, tuple)):
        return [plain(value) for value in data]
    raise ValueError(f"a {type(data).__name__} cannot be written as JSON: convert it to numbers, text or arrays first")


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file under a temporary name beside ``path`` and rename it, so that no reader ever sees a part of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(f"{path} could not be written: {error.strerror or error}") from error
