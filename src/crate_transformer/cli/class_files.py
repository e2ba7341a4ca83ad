"""The results of ``crate segment`` for the classes of a segmenter."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image

from crate_transformer.cli.mask_files import Record, SegmentFolder
from crate_transformer.reports.segments import PALETTE, class_picture, classes_over


@dataclass(frozen=True)
class FoundClass:
    """A class in a mask, and the fraction of the pixels that have it."""

    value: int
    fraction: float


@dataclass(frozen=True)
class ClassRecord(Record):
    """The classes of an image."""

    classes: list[FoundClass]


class ClassFolder(SegmentFolder[ClassRecord]):
    """A mask of each image with the class of every pixel."""

    record, records = ClassRecord, "classes"

    def __init__(
        self,
        folder: Path,
        paths: Sequence[Path],
        settings: Mapping[str, object],
        *,
        overwrite: bool,
        class_names: Sequence[str],
    ) -> None:
        self.class_names = class_names
        super().__init__(folder, paths, settings, overwrite=overwrite)

    def describe(self, picture: Image.Image, found: np.ndarray) -> tuple[dict[str, Any], Image.Image, Image.Image]:
        values, counts = np.unique(found, return_counts=True)
        shares = (counts / found.size).tolist()
        classes = [FoundClass(value, share) for value, share in zip(values.tolist(), shares, strict=True)]
        return {"classes": classes}, class_picture(found), classes_over(np.asarray(picture), found)

    def lists(self) -> tuple[dict[str, Any], list[str]]:
        names, pictures = self.class_names, []
        for path in filter(self.finished.get, self.stems):
            masks, overlay, _ = self.names(path)
            classes = [{"name": names[found.value], **asdict(found)} for found in self.finished[path].classes]
            pictures.append({"image": str(path), "masks": masks, "overlay": overlay, "classes": classes})
        known = [
            {"value": value, "name": name, "colour": to_hex(PALETTE[value] / 255)} for value, name in enumerate(names)
        ]
        seen = {found["value"] for entry in pictures for found in entry["classes"]}
        count = f"{len(pictures)} image{'s' * (len(pictures) > 1)}"
        said = f"{len(seen)} of {len(names)} classes in {count}: {self.folder}"
        return {"results.json": {"classes": known, "pictures": pictures}}, [said]
