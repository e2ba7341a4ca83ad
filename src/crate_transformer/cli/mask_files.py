"""The results of ``crate segment``: a set of files per image, then two lists of all objects and images."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from crate_transformer.cli.outputs import SETTINGS, check_output, read_settings
from crate_transformer.data import encode_mask
from crate_transformer.evaluation.average_precision import mask_box
from crate_transformer.reports.segments import label_picture, masks_over
from crate_transformer.storage import file_stem, json_bytes, read_record, write_files

_LISTS = ("coco_results.json", "results.json")
_FOLDERS = {"masks": ".png", "overlays": ".png", "objects": ".json"}
_OURS = re.compile(r"\d{4,}-")
_LARGEST_ID = 2**53  # smaller integers are exact in every JSON parser


@dataclass(frozen=True)
class Found:
    """One object in COCO's results format."""

    segmentation: dict[str, str | list[int]]
    bbox: list[float]
    score: float
    category_id: int = 1


@dataclass(frozen=True)
class Record:
    """The objects of an image, and its file size and modification time."""

    image: str
    bytes: int
    changed: int
    objects: list[Found]


class SegmentFolder:
    """Every finished image is saved at once, so that the same command resumes where it was stopped.

    The two lists are written when all images are finished. Results of another run are kept until the first image of
    this run is finished.

    Args:
        settings: everything that the masks of an image depend on.
        overwrite: the results of another run may be replaced.

    Raises:
        ValueError: the folder contains the results of another run.
    """

    def __init__(self, folder: Path, paths: Sequence[Path], settings: Mapping[str, object], *, overwrite: bool) -> None:
        self.folder, self.settings = folder, {**settings, "pictures": [str(path) for path in paths]}
        self.stems = {path: file_stem(index, str(path)) for index, path in enumerate(paths)}
        goes_on = check_output(folder, self.settings, overwrite=overwrite, writes=(*_FOLDERS, *_LISTS))
        self.taken = False
        found = {path: self._read(path) for path in paths} if goes_on else {}
        self.finished: dict[Path, Record] = {path: record for path, record in found.items() if record}

    def add(self, path: Path, picture: Image.Image, masks: np.ndarray) -> None:
        """Write all files of one image, or none of them."""
        kept = [mask for mask in masks if mask.any()]
        objects = [Found(encode_mask(mask), mask_box(mask), 1 / (1 + rank)) for rank, mask in enumerate(kept)]
        record = Record(str(path), *_stamp(path), objects)
        contents = (_png(label_picture(masks)), _png(masks_over(np.asarray(picture), masks)), json_bytes(record))
        self._write(dict(zip(self._names(path), contents, strict=True)))
        self.finished[path] = record

    def finish(self, about: Mapping[str, object]) -> tuple[int, list[str]]:
        """Write the lists; returns the number of objects, and the images without any."""
        found, pictures = [], []
        for path, image_id in self._ids().items():
            record = self.finished[path]
            found += [{"image_id": image_id, **asdict(entry)} for entry in record.objects]
            masks, *_ = self._names(path)
            pictures.append(
                {"image": record.image, "image_id": image_id, "objects": len(record.objects), "masks": masks}
            )
        empty = [entry["image"] for entry in pictures if not entry["objects"]]
        results = {**about, "pictures": pictures, "nothing_found": empty}
        self._write(dict(zip(_LISTS, (json_bytes(found), json_bytes(results)), strict=True)))
        return len(found), empty

    def _ids(self) -> dict[Path, int]:
        """COCO id of every finished image: its name if all names are different numbers, else its index."""
        order = {path: place for place, path in enumerate(self.stems) if path in self.finished}
        numbers = {path: int(path.stem) for path in order if path.stem.isdecimal()}
        named = len(set(numbers.values())) == len(order) and max(numbers.values(), default=0) < _LARGEST_ID
        return numbers if named else order

    def _write(self, files: dict[str, bytes]) -> None:
        """Write files; the first call also writes the settings and removes the lists and results of another run."""
        if self.taken:
            write_files(self.folder, files)
            return
        current = {name for path in self.finished for name in self._names(path)}
        old = [f"{folder}/{file.name}" for folder, suffix in _FOLDERS.items() for file in self._ours(folder, suffix)]
        gone = {*_LISTS, *old} - current - files.keys()
        write_files(self.folder, {SETTINGS: json_bytes(self.settings), **files}, remove=sorted(gone))
        self.taken = True

    def _ours(self, folder: str, suffix: str) -> list[Path]:
        """Files in ``folder`` that this command wrote."""
        if not read_settings(self.folder):
            return []
        return [file for file in (self.folder / folder).glob(f"*{suffix}") if _OURS.match(file.name)]

    def _names(self, path: Path) -> list[str]:
        return [f"{folder}/{self.stems[path]}{suffix}" for folder, suffix in _FOLDERS.items()]

    def _read(self, path: Path) -> Record | None:
        """The record of an image that has not changed since, if all its result files exist."""
        *pictures, record = (self.folder / name for name in self._names(path))
        try:
            found = read_record(record, Record)
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
