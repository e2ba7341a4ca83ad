"""Zip files: names in any code page, and entries of bounded size."""

import logging
import os
import struct
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

from crate_transformer.data.code_pages import guess_code_page
from crate_transformer.storage import open_file
from crate_transformer.storage.limits import HOW_TO_RAISE

_LOG = logging.getLogger("crate_transformer.data")
_UTF8_FLAG, _UNICODE_PATH, _DOS = 0x800, 0x7075, 0
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those whose output can be bounded


class Archive:
    """An open zip file; ``entries`` maps names to directory entries.

    Raises:
        ValueError: The file is not a readable zip file, or a name is ambiguous.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            open_file(path).close()  # never a device or a pipe
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ValueError(f"{path} is neither a folder nor a readable zip file ({error})") from error
        found = self._zip.infolist()
        self.entries = dict(zip(_decode_names(path, found), found, strict=True))
        if len(self.entries) < len(found):
            raise ValueError(f"{path} contains two entries with the same name: pack it again")
        for name in self.entries:
            if not set(name.rstrip("/").split("/")).isdisjoint(("", ".", "..")) or "\0" in name:
                raise ValueError(f"{path} contains an entry called {name!r}, which is not a valid path: pack it again")

    def read(self, name: str, *, limit: int) -> bytes:
        """The bytes of one entry.

        Raises:
            ValueError: There is no entry with this name, or it is larger than ``limit`` bytes, damaged, encrypted, or
                compressed with a method other than deflate.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise ValueError(f"{self.path} contains no {name}")
        if entry.file_size > limit:
            raise ValueError(f"{entry.file_size:,} bytes, more than the limit of {limit:,}; {HOW_TO_RAISE}")
        if entry.compress_type not in _METHODS:
            raise ValueError("not compressed with deflate: pack the zip file again")
        try:
            return self._zip.read(entry)
        except MemoryError:
            raise
        except Exception as error:  # zipfile reports damage and encryption in many ways
            raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def open_archive(path: Path) -> Archive:
    """The zip file, opened once per process, because forked processes would share the file position."""
    status = path.stat()
    return _opened(path, os.getpid(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _opened(path: Path, process: int, changed: int, size: int) -> Archive:
    return Archive(path)


def _decode_names(path: Path, entries: list[zipfile.ZipInfo]) -> list[str]:
    """The decoded names: UTF-8 if an entry says so in its flag or extra field, else with a guessed code page."""
    names = []
    for entry in entries:
        raw = None if entry.flag_bits & _UTF8_FLAG else entry.orig_filename.encode("cp437")
        names.append(entry.orig_filename if raw is None or raw.isascii() else _unicode_path(entry.extra, raw) or raw)
    unmarked = [name for name in names if isinstance(name, bytes)]
    codec = guess_code_page(unmarked) if unmarked else "cp437"
    if codec not in ("cp437", "utf-8"):
        _LOG.warning("%s: names are decoded as %s, because the file does not specify an encoding", path, codec)
    decoded = [name.decode(codec) if isinstance(name, bytes) else name for name in names]
    return [  # some programs on Windows write their own separator
        name.replace("\\", "/") if entry.create_system == _DOS else name
        for name, entry in zip(decoded, entries, strict=True)
    ]


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name in Info-ZIP's extra field, if it matches the name ``raw``."""
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and field[:5] == struct.pack("<BL", 1, zlib.crc32(raw)):
            return field[5:].decode("utf-8", "replace")
    return None
