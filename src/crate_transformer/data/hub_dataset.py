"""Labelled images in data sets of Hugging Face ``datasets``: from the hub, or written by ``save_to_disk``."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import numpy as np
from jaxtyping import Int64

from crate_transformer.data.decode import BrokenImageError
from crate_transformer.data.labelled import LabelledFiles
from crate_transformer.storage import read_file
from crate_transformer.storage.limits import HOW_TO_RAISE, memory_limit

if TYPE_CHECKING:
    from datasets import Dataset  # pyright: ignore[reportMissingImports]

_LOG = logging.getLogger("crate_transformer.data")
PREFIX = "hf:"
_IMAGE_NAMES = ("image", "img", "picture", "pixel_values")
_LABEL_NAMES = ("label", "labels", "class", "fine_label", "target")


@dataclass(frozen=True, eq=False)
class HubDataset(LabelledFiles):
    """Labelled images in ``data``, whose column ``column`` contains the encoded files; ``rows`` are their rows.

    ``root`` is the folder, or ``hf:owner/name``; ``prefix`` is the split of the data set.
    """

    root: str
    data: "Dataset"
    column: str
    rows: Int64[np.ndarray, " images"]
    labels: list[int]
    classes: tuple[str, ...]
    prefix: str = ""
    unreadable: dict[int, str] = field(default_factory=dict)
    part_of: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, indices: Sequence[int]) -> "HubDataset":
        """The images at these positions, in this order, with the same classes."""
        labels = [self.labels[i] for i in indices]
        return self._part(rows=self.rows[np.asarray(indices, np.int64)], labels=labels)

    def keys(self) -> list[str]:
        """16 hex digits for each image, from its row, file name and size in bytes."""
        import pyarrow.compute as arrow  # pyright: ignore[reportMissingImports]

        files = self.data.data.column(self.column)
        sizes = arrow.fill_null(arrow.binary_length(arrow.struct_field(files, "bytes")), 0).to_pylist()
        paths = arrow.struct_field(files, "path").to_pylist()
        names = [(paths[row] or "").replace("\\", "/").rpartition("/")[2] for row in self.rows.tolist()]
        identities = [
            f"{self.prefix}\0{row}\0{name}\0{sizes[row]}" for row, name in zip(self.rows.tolist(), names, strict=True)
        ]
        return [sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:16] for identity in identities]

    def content(self, index: int) -> bytes:
        """The bytes of one image file; raises ``BrokenImageError`` if they cannot be read."""
        file, limit = self.data[int(self.rows[index])][self.column], memory_limit() // 4
        if file is None:
            raise BrokenImageError("", "the data set has no image in this row")
        if file["bytes"] is None:
            return _read_cached(file["path"], limit)
        if len(file["bytes"]) > limit:
            raise BrokenImageError(
                "", f"{len(file['bytes']):,} bytes, more than the limit of {limit:,}; {HOW_TO_RAISE}"
            )
        return file["bytes"]

    def name(self, index: int) -> str:
        """The part and row of one image."""
        return f"{self.prefix}, row {self.rows[index]}".removeprefix(", ")


def is_saved_dataset(path: Path) -> bool:
    """Whether ``save_to_disk`` wrote this folder."""
    return any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))


def load_parts(name: str) -> dict[str, HubDataset]:
    """The parts (splits) of a data set by name; a single part may have no name.

    No code of the repository is executed, and images are decoded by ``read_image``.

    Args:
        name: ``hf:owner/name``, optionally followed by ``:part``, or a folder.

    Raises:
        ImportError: ``datasets`` is not installed.
        ValueError: There is no image column or no label column, or several.
        OSError: The data set cannot be loaded.
    """
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f'{name} needs Hugging Face datasets: pip install "crate-transformer[train]"') from error
    part = ""
    try:
        if name.startswith(PREFIX):
            repository, _, part = name.removeprefix(PREFIX).partition(":")
            found = datasets.load_dataset(repository, split=part or None)
        else:
            found = datasets.load_from_disk(name)
    except MemoryError:
        raise
    except Exception as error:  # from datasets, huggingface_hub or the network
        reason = " ".join(str(error).split()) or type(error).__name__
        raise OSError(f"{name} cannot be loaded by Hugging Face datasets: {reason}") from error
    parts = found if isinstance(found, dict) else {str(found.split or part): found}
    root = name.removesuffix(f":{part}") if part else name
    return {key: _open(root, key, data) for key, data in parts.items()}


def _open(root: str, part: str, data: "Dataset") -> HubDataset:
    import datasets  # pyright: ignore[reportMissingImports]

    where = f"{root}, {part}".removesuffix(", ")
    data, kinds = data if data._indices is None else data.flatten_indices(), data.features
    column = _choose(
        where, "images", kinds, [n for n, k in kinds.items() if isinstance(k, datasets.Image)], _IMAGE_NAMES
    )
    told = [n for n, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)]
    plain = [n for n in _LABEL_NAMES if isinstance(kinds.get(n), datasets.Value)]
    label = _choose(where, "labels", kinds, told or plain, _LABEL_NAMES)
    values = data.data.column(label).to_pylist()
    if told:
        classes = [normalize("NFC", name) for name in kinds[label].names]
        labels = np.array([-1 if value is None else value for value in values], np.int64)
    else:
        classes = sorted({value for value in values if value is not None})
        places = {value: number for number, value in enumerate(classes)}
        labels = np.array([places.get(value, -1) for value in values], np.int64)
        classes = [normalize("NFC", str(name)) for name in classes]
    rows = np.flatnonzero((labels >= 0) & (labels < len(classes)))
    if len(set(classes)) < max(2, len(classes)):
        raise ValueError(
            f"{where} has {len(set(classes))} different classes in the column {label!r}: at least two are needed"
        )
    if not len(rows):
        raise ValueError(f"{where} has no labels in the column {label!r}: choose another part, {PREFIX}owner/name:part")
    if len(rows) < len(labels):
        _LOG.warning("%s: skipped %d images without a class", where, len(labels) - len(rows))
    files = data.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    return HubDataset(root, files, column, rows, labels[rows].tolist(), tuple(classes), part)


def _choose(where: str, what: str, kinds: dict[str, Any], found: list[str], usual: Sequence[str]) -> str:
    """The only column, or the one with the most usual name."""
    for name in usual:
        if name in found:
            return name
    if len(found) == 1:
        return found[0]
    have = f"several columns of {what}: {', '.join(found)}" if found else f"no column of {what} in {', '.join(kinds)}"
    raise ValueError(f"{where} has {have}; rename the one to use to {usual[0]!r}")


def _read_cached(path: str | None, limit: int) -> bytes:
    """A file downloaded by ``datasets`` or ``huggingface_hub``; a data set may not refer to any other file."""
    import datasets  # pyright: ignore[reportMissingImports]
    import huggingface_hub.constants

    caches = [Path(datasets.config.HF_DATASETS_CACHE), Path(huggingface_hub.constants.HF_HUB_CACHE)]
    if not path or not any(cache.resolve() in Path(path).resolve().parents for cache in caches):
        raise BrokenImageError("", f"the data set refers to the file {path!r}, which was not downloaded with it")
    try:
        return read_file(path, limit=limit)
    except (OSError, ValueError) as error:
        raise BrokenImageError("", str(error)) from error
