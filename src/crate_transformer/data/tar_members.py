"""Images and their labels in a tar file, found from the headers alone; nothing is extracted."""

import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

from crate_transformer.data.files import is_clutter
from crate_transformer.data.images import is_image
from crate_transformer.data.wordnet import WORDNET_ID
from crate_transformer.storage import open_file, parse_json

_LONGEST_HEADER = 1 << 20  # bytes of one member's headers: long names and PAX records
_LONGEST_LABEL_FILE = 1 << 20
_LONGEST_LABEL = 200  # characters
_GLOBAL_RECORDS = 1000  # PAX records that apply to a whole tar file
_BLOCK = tarfile.BLOCKSIZE
_UNKNOWN = re.compile(r"-\d+")  # test sets mark unknown classes with negative numbers


class TarPicture(NamedTuple):
    """The location of an image in a tar file.

    ``label`` comes from ``key.cls`` or ``key.json`` beside it, otherwise it is the folder of the image, ending in a
    slash. ``identity`` names the image independently of the location of the tar file.
    """

    offset: int
    length: int
    label: str
    identity: str


def tar_pictures(path: Path, left_out: Counter[str]) -> Iterator[TarPicture]:
    """The labelled images of a tar file in WebDataset layout or with one folder per class, in order.

    Members of one sample have the same name up to the first dot and follow each other. A tar file named by a WordNet
    id, as in ImageNet, is itself a class.

    Args:
        left_out: Counts skipped members by reason.

    Raises:
        ValueError: It is not a tar file, damaged, truncated, or has unreasonably large headers.
        OSError: It cannot be read.
    """
    with open_file(path) as stream:
        file = _Headers(stream.fileno())
        for _, group in groupby(_members(path, file, left_out), key=lambda member: _stem(member.name)):
            members = list(group)
            pictures = [member for member in members if is_image(member.name)]
            label = _label(file, members, left_out)
            if label is not None:
                if not pictures:
                    left_out["labels without an image"] += 1
                    continue
                chosen = min(pictures, key=lambda member: member.name.count("."))
                left_out["additional images of a sample"] += len(pictures) - 1
                yield TarPicture(chosen.offset_data, chosen.size, label, f"{path.name}/{chosen.name}")
                continue
            for member in pictures:
                folder, _, name = member.name.rpartition("/")
                folder = folder or (path.stem if WORDNET_ID.fullmatch(path.stem) else "")
                if folder:
                    identity = f"{folder.rpartition('/')[2]}/{name}"
                    yield TarPicture(member.offset_data, member.size, f"{folder}/", identity)
                else:
                    left_out["images without a label"] += 1


class _Headers:
    """A file from which ``tarfile`` reads headers, with a limit on the bytes per member."""

    def __init__(self, descriptor: int):
        self.descriptor, self.position, self.left = descriptor, 0, _LONGEST_HEADER

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> None:
        self.position = position

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise tarfile.ReadError(f"a header of more than {_LONGEST_HEADER:,} bytes")
        content = os.pread(self.descriptor, size, self.position)
        self.position += len(content)
        self.left -= len(content)
        return content


def _members(path: Path, file: _Headers, left_out: Counter[str]) -> Iterator[tarfile.TarInfo]:
    """The regular files with relative names; damage that ``tarfile`` would ignore is an error."""
    try:
        headers: Any = file
        archive: Any = tarfile.TarFile(fileobj=headers)
        end = -1
        while (member := archive.next()) is not None:
            archive.members.clear()  # it would keep them all
            file.left = _LONGEST_HEADER
            if archive.offset <= end or len(archive.pax_headers) > _GLOBAL_RECORDS or member.size < 0:
                raise tarfile.ReadError(f"an invalid header at byte {member.offset:,}")
            end = archive.offset
            member.name = member.name.removeprefix("./")
            parts = member.name.split("/")
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                left_out["links, devices and sparse files"] += 1
            elif not set(parts).isdisjoint(("", ".", "..")):
                left_out["files whose names point outside the tar file"] += 1
            elif not any(map(is_clutter, parts)):
                yield member
    except (tarfile.TarError, UnicodeError, RecursionError, OverflowError, ValueError) as error:
        raise ValueError(f"{path} is not a complete tar file ({error}): download or pack it again") from error
    rest = os.pread(file.descriptor, 32 * _BLOCK, archive.offset)
    if len(rest) < _BLOCK or any(rest):
        how = "truncated" if len(rest) < _BLOCK else "damaged, or joined from several"
        raise ValueError(f"{path} is {how} at byte {archive.offset:,}: download or pack it again")


def _stem(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _label(file: _Headers, members: list[tarfile.TarInfo], left_out: Counter[str]) -> str | None:
    """The label in the label files of a sample, ``.cls`` before ``.json``."""
    for suffix in (".cls", ".json"):
        for member in members:
            if not member.name.lower().endswith(suffix):
                continue
            value = None
            if member.size <= _LONGEST_LABEL_FILE:
                value = _parse(os.pread(file.descriptor, member.size, member.offset_data), suffix)
            if value is not None:
                return value
            left_out[f"{suffix} files without a readable label"] += 1
    return None


def _parse(content: bytes, suffix: str) -> str | None:
    try:
        value = content.decode("utf-8-sig") if suffix == ".cls" else parse_json(content, suffix)
    except ValueError:
        return None
    if isinstance(value, dict):
        value = value.get("label", value.get("class"))
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    value = normalize("NFC", str(value)).strip().rstrip("/")
    is_class = 0 < len(value) <= _LONGEST_LABEL and value.isprintable() and not _UNKNOWN.fullmatch(value)
    return value if is_class else None
