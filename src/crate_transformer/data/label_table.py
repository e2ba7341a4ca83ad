"""Labels of images from a CSV file: one class each, or any number of classes."""

import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

import numpy as np
from jaxtyping import Float32

from crate_transformer.data.files import read_bytes
from crate_transformer.storage import json_limit

_LOG = logging.getLogger("crate_transformer.data")
_TABLE, _KAGGLE = "labels.csv", "LOC_val_solution.csv"
_FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Images with their ``labels`` from a CSV file, or ``targets`` if an image may have several classes."""

    names: list[str]
    labels: list[int] | None
    targets: Float32[np.ndarray, "images classes"] | None
    classes: tuple[str, ...]


def read_table(path: Path, names: Sequence[str], images: Sequence[str], prefix: str) -> LabelTable | None:
    """The labels in ``labels.csv`` of the images below ``prefix`` in the folder or zip file ``path``, if there is one.

    The file is at ``prefix``, in ``path`` or beside it. Each line has a file and its class, or several classes
    separated by ``;``; or, after a header line, a file and a 0 or 1 for each class. A file is given by its path
    relative to the CSV file or by its name, with or without suffix. For Kaggle's ImageNet, ``LOC_val_solution.csv`` is
    read, which may be up to three folders above.

    Args:
        names: names of all files in ``path``.
        images: names of all images in ``path``.

    Raises:
        ValueError: A line is malformed, or no line matches an image; the message names the file and line.
    """
    places = [(path, name) for name in (f"{prefix}{_TABLE}", _TABLE, _KAGGLE) if name in names]
    beside = [path.parent / _TABLE, *(folder / _KAGGLE for folder in list(path.resolve().parents)[:4])]
    places += [(file.parent, file.name) for file in beside if file.is_file()]
    if not places:
        return None
    container, name = places[0]
    where, folder = f"{container}/{name}", name.rpartition("/")[0]
    folder = f"{folder}/" if folder else ""
    rows = _rows(container, name, where)
    chosen = [image for image in images if image.startswith(prefix)]
    find = _Finder(images, chosen, folder)
    titles = None if find(rows[0][1][0]) else rows.pop(0)[1]
    said: dict[str, list[str]] = {}
    for number, cells in rows:
        image = find(cells[0])
        if image in said:
            raise ValueError(f"{where}, line {number}: {cells[0]!r} is listed twice")
        if image is not None:
            said[image] = _classes_of(cells, titles, name == _KAGGLE, f"{where}, line {number}")
    if folder == prefix and len(said) < len(rows):
        _LOG.warning("%s: %d lines match no image, or several", where, len(rows) - len(said))
    one_column = titles is None or len(titles) == 2
    if one_column and all(len(kinds) < 2 for kinds in said.values()):
        said = {image: kinds for image, kinds in said.items() if kinds}
    kept = [image for image in chosen if image in said]
    if not kept:
        raise ValueError(f"{where} lists none of the images in {path}/{prefix}: write one line for each, file,class")
    if len(kept) < len(chosen):
        _LOG.warning("%s: skipped %d images that it does not list", where, len(chosen) - len(kept))
    classes = (
        sorted({kind for kinds in said.values() for kind in kinds}) if one_column or titles is None else titles[1:]
    )
    numbers = {kind: number for number, kind in enumerate(classes)}
    if all(len(kinds) == 1 for kinds in said.values()):
        return LabelTable(kept, [numbers[said[image][0]] for image in kept], None, tuple(classes))
    targets = np.zeros((len(kept), len(classes)), np.float32)
    for row, image in zip(targets, kept, strict=True):
        row[[numbers[kind] for kind in said[image]]] = 1
    return LabelTable(kept, None, targets, tuple(classes))


def _rows(container: Path, name: str, where: str) -> list[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers."""
    try:
        text = read_bytes(container, name, limit=json_limit()).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""))
        rows = [(reader.line_num, [normalize("NFC", cell.strip()) for cell in cells]) for cells in reader if cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{where} is not readable CSV in UTF-8: {error}") from error
    if not rows:
        raise ValueError(f"{where} is empty: write one line for each image, file,class")
    columns = len(rows[0][1])
    for number, cells in rows:
        if len(cells) != columns or columns < 2:
            raise ValueError(
                f"{where}, line {number} has {len(cells)} columns: each line needs "
                f"{f'{columns}, as the first' if columns > 1 else 'a file, a comma and a class'}"
            )
    return rows


class _Finder:
    """Finds the image that matches a name in the table; a name that is not a full path is searched in ``chosen``
    only."""

    def __init__(self, images: Sequence[str], chosen: Sequence[str], folder: str):
        self.images = {normalize("NFC", image): image for image in images}
        self.folder, self.short = folder, {}
        for image in chosen:
            last = normalize("NFC", image.rpartition("/")[2])
            for key in (last, last.rpartition(".")[0]):
                self.short[key] = None if key in self.short else image  # ambiguous names match nothing

    def __call__(self, name: str) -> str | None:
        name = name.replace("\\", "/").removeprefix("./")
        return self.images.get(f"{self.folder}{name}") or self.short.get(name)


def _classes_of(cells: list[str], titles: list[str] | None, is_kaggle: bool, where: str) -> list[str]:
    if len(cells) == 2:
        kinds = cells[1].split()[:1] if is_kaggle else [kind.strip() for kind in cells[1].split(";")]
        return list(dict.fromkeys(filter(None, kinds)))
    if titles is None:
        raise ValueError(f"{where}: a table of 0 and 1 needs a header line with the column names")
    if len(set(titles)) < len(titles):
        raise ValueError(f"{where}: two columns have the same name")
    if unknown := [cell for cell in cells[1:] if cell not in _FLAGS]:
        raise ValueError(f"{where} contains {unknown[0]!r}: in a table with one column per class it must be 0 or 1")
    return [kind for kind, cell in zip(titles[1:], cells[1:], strict=True) if _FLAGS[cell]]
