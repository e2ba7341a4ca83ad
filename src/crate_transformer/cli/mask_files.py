"""The folder of results of ``crate segment``: a set of files per image, then the lists of all images."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from PIL import Image

from crate_transformer.cli.outputs import SETTINGS, check_output, read_settings
from crate_transformer.storage import file_stem, json_bytes, read_record, write_files

_LISTS = ("coco_results.json", "results.json")
_FOLDERS = {"masks": ".png", "overlays": ".png", "objects": ".json", "classes": ".json"}
_OURS = re.compile(r"\d{4,}-")


@dataclass(frozen=True)
class Record:
    """An image with its file size and modification time."""

    image: str
    bytes: int
    changed: int


Found = TypeVar("Found", bound=Record)


class SegmentFolder(Generic[Found]):
    """Every finished image is saved at once, so that the same command resumes where it was stopped.

    The lists are written when all images are finished. Results of another run are kept until the first image of this
    run is finished.

    Args:
        settings: everything that the masks of an image depend on.
        overwrite: the results of another run may be replaced.

    Raises:
        ValueError: the folder contains the results of another run.
    """

    record: ClassVar[type[Record]]
    records: ClassVar[str]
    """The sub-folder of the records."""

    def __init__(self, folder: Path, paths: Sequence[Path], settings: Mapping[str, object], *, overwrite: bool) -> None:
        self.folder, self.settings = folder, {**settings, "pictures": [str(path) for path in paths]}
        self.stems = {path: file_stem(index, str(path)) for index, path in enumerate(paths)}
        goes_on = check_output(folder, self.settings, overwrite=overwrite, writes=(*_FOLDERS, *_LISTS))
        self.taken = False
        found = {path: self._read(path) for path in paths} if goes_on else {}
        self.finished: dict[Path, Found] = {path: record for path, record in found.items() if record}

    def describe(self, picture: Image.Image, found: Any) -> tuple[dict[str, Any], Image.Image, Image.Image]:
        """The other fields of the record, the mask and the overlay of what was found in an image."""
        raise NotImplementedError

    def lists(self) -> tuple[dict[str, Any], list[str]]:
        """The lists of all images by the name of their file, and sentences about them."""
        raise NotImplementedError

    def add(self, path: Path, picture: Image.Image, found: Any) -> None:
        """Write all files of one image, or none of them."""
        fields, mask, overlay = self.describe(picture, found)
        record: Any = self.record(str(path), *_stamp(path), **fields)
        contents = _png(mask), _png(overlay), json_bytes(record)
        self._write(dict(zip(self.names(path), contents, strict=True)))
        self.finished[path] = record

    def finish(self, about: Mapping[str, object]) -> list[str]:
        """Write the lists; returns the sentences about them."""
        lists, sentences = self.lists()
        lists["results.json"] = {**about, **lists["results.json"]}
        self._write({name: json_bytes(content) for name, content in lists.items()})
        return sentences

    def names(self, path: Path) -> list[str]:
        """The files of an image: mask, overlay and record."""
        return [f"{folder}/{self.stems[path]}{_FOLDERS[folder]}" for folder in ("masks", "overlays", self.records)]

    def _write(self, files: dict[str, bytes]) -> None:
        """Write files; the first call also writes the settings and removes the lists and results of another run."""
        if self.taken:
            write_files(self.folder, files)
            return
        current = {name for path in self.finished for name in self.names(path)}
        old = [f"{folder}/{file.name}" for folder, suffix in _FOLDERS.items() for file in self._ours(folder, suffix)]
        gone = {*_LISTS, *old} - current - files.keys()
        write_files(self.folder, {SETTINGS: json_bytes(self.settings), **files}, remove=sorted(gone))
        self.taken = True

    def _ours(self, folder: str, suffix: str) -> list[Path]:
        """Files in ``folder`` that this command wrote."""
        if not read_settings(self.folder):
            return []
        return [file for file in (self.folder / folder).glob(f"*{suffix}") if _OURS.match(file.name)]

    def _read(self, path: Path) -> Any:
        """The record of an image that has not changed since, if all its result files exist."""
        *pictures, record = (self.folder / name for name in self.names(path))
        try:
            found = read_record(record, self.record)
            fits = (found.image, found.bytes, found.changed) == (str(path), *_stamp(path))
        except (OSError, ValueError):
            return None
        return found if fits and all(file.is_file() for file in pictures) else None


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
