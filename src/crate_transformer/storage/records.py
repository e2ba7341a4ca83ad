"""JSON files: atomic writing, and validated reading of untrusted files."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from crate_transformer.storage.limits import DEFAULT_LIMIT, memory_limit
from crate_transformer.storage.reading import read_file
from crate_transformer.storage.writing import write_file

_SHARE = 16  # fraction of the memory limit for the text of a JSON file: Python objects take far more
SIGNIFICANT_DIGITS = 6


def read_json(path: str | Path, *, limit: int | None = None) -> Any:
    """The content of a JSON file of at most ``limit`` bytes (default: ``json_limit()``).

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: not a regular file, too large, not UTF-8, not JSON, nested too deeply, a number is too large for
            64 bits, or an object has a duplicate key; the message names the file.
    """
    return parse_json(read_file(path, limit=limit or json_limit()), str(path))


def json_limit() -> int:
    """Largest size of a JSON file in bytes: a sixteenth of ``memory_limit()``, and at least 64 MB."""
    return max(DEFAULT_LIMIT, memory_limit()) // _SHARE


def parse_json(content: bytes, where: str) -> Any:
    """The value of the JSON text ``content``; raises the same errors as ``read_json``.

    Args:
        where: name of the file in error messages.
    """
    try:
        return json.loads(
            content.decode("utf-8-sig"),
            parse_float=_finite,
            parse_int=_whole,
            parse_constant=_no_constant,
            object_pairs_hook=_without_duplicates,
        )
    except RecursionError:
        raise ValueError(f"{where} is not readable JSON: it is nested too deeply") from None
    except ValueError as error:  # includes UTF-8 decoding errors
        raise ValueError(f"{where} is not readable JSON: {error}") from error


def read_record(path: str | Path, kind: Any, *, limit: int | None = None) -> Any:
    """The content of a JSON file as an instance of ``kind``, a dataclass or another type that msgspec validates.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: as in ``read_json``; or a field is missing or has a wrong type, and the message names it.
    """
    return as_record(read_json(path, limit=limit), kind, str(path))


def as_record(value: object, kind: Any, where: str) -> Any:
    """Parsed JSON as an instance of ``kind``.

    Args:
        where: origin of the value, for error messages.

    Raises:
        ValueError: a field is missing or has a wrong type; the message names ``where`` and the field.
    """
    import msgspec  # compiled, and not needed for writing

    try:
        return msgspec.convert(value, kind)
    except RecursionError:
        raise ValueError(f"{where} is nested too deeply") from None
    except (msgspec.ValidationError, OverflowError) as error:
        raise ValueError(f"{where} is not valid: {error}") from error


def write_json(path: str | Path, data: object) -> None:
    """Write ``data`` with sorted keys, atomically.

    Mappings, sequences, sets, dataclasses, numpy arrays and scalars, and paths may be nested in any way. Floats are
    rounded to six significant digits (large ones to integers); values that are not finite become ``null``.

    Raises:
        ValueError: ``data`` contains something else.
        OSError: the file could not be written; an existing file is kept.
    """
    write_file(path, json_bytes(data))


def json_bytes(data: object) -> bytes:
    """The content of the file that ``write_json`` writes."""
    return (json_text(plain(data), indent=1, sort_keys=True) + "\n").encode()


def json_text(data: object, **options: Any) -> str:
    """JSON with unescaped characters, unless ``data`` contains text that is not valid Unicode (file names)."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, **options)
    return text if text.isascii() or _is_unicode(text) else json.dumps(data, allow_nan=False, **options)


def plain(data: Any, digits: int | None = SIGNIFICANT_DIGITS) -> Any:
    """``data`` as JSON types; floats keep ``digits`` significant digits, or all of them if ``None``."""
    if data is None or isinstance(data, (str, bool)):
        return data
    if isinstance(data, int):
        return _whole(str(int(data)))
    if isinstance(data, float):
        if not math.isfinite(data):
            return None
        if digits is None:
            return data
        return float(f"{data:.{digits}g}") if abs(data) < 10**digits else float(round(data))
    if type(data).__module__ == "numpy":
        return plain(data.tolist(), digits)
    if isinstance(data, Path):
        return str(data)
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return {field.name: plain(getattr(data, field.name), digits) for field in dataclasses.fields(data)}
    if isinstance(data, Mapping):
        return {str(key): plain(value, digits) for key, value in data.items()}
    if isinstance(data, (set, frozenset)):
        return sorted(plain(value, digits) for value in data)
    if isinstance(data, (list, tuple)):
        return [plain(value, digits) for value in data]
    raise ValueError(f"a {type(data).__name__} cannot be written as JSON: convert it to numbers, text or arrays first")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits[:30]} is too large")
    return value


def _whole(digits: str) -> int:
    _finite(digits)
    return int(digits)


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"an object has the duplicate key {twice!r}")
    return found
