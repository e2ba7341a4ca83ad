"""Reading untrusted files: regular files only, and never more bytes than expected."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from crate_transformer.storage.limits import HOW_TO_RAISE, memory_limit


def open_file(path: str | Path, *, limit: int | None = None) -> BinaryIO:
    """Open a regular file for reading; links are followed.

    Devices and pipes are refused, because they can block or be endless.

    Args:
        limit: largest size in bytes; any size if ``None``.

    Raises:
        FileNotFoundError: the path does not exist, or is a broken link.
        ValueError: it is not a regular file, or larger than ``limit``.
        OSError: it cannot be opened, for example without permission.
    """
    try:
        _check(path, os.stat(path), limit)  # noqa: PTH116 -- one call for any kind of path
        stream = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 -- the caller closes it
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist") from None
    try:
        _check(path, os.fstat(stream.fileno()), limit)
    except ValueError:
        stream.close()
        raise
    return stream


def read_file(path: str | Path, *, limit: int | None = None) -> bytes:
    """The content of a regular file of at most ``limit`` bytes (default: ``memory_limit()``).

    Raises the same errors as ``open_file``.
    """
    limit = memory_limit() if limit is None else limit
    with open_file(path, limit=limit) as stream:
        size = min(limit, os.fstat(stream.fileno()).st_size)
        content = stream.read(size + 1)  # not limit + 1, because that much memory would be allocated first
        if len(content) > size:
            content += stream.read(limit + 1 - len(content))
    if len(content) > limit:
        raise ValueError(f"{path} grew beyond the limit of {limit:,} bytes while it was read")
    return content


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check(path: str | Path, found: os.stat_result, limit: int | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device, pipe or socket"
        raise ValueError(f"{path} is {kind}, not a regular file")
    if limit is not None and found.st_size > limit:
        raise ValueError(f"{path} has {found.st_size:,} bytes, more than the limit of {limit:,}; {HOW_TO_RAISE}")
