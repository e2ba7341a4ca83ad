"""The results of ``crate segment`` for objects without classes."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crate_transformer.cli.mask_files import Record, SegmentFolder
from crate_transformer.cli.pictures import listing
from crate_transformer.data import encode_mask
from crate_transformer.evaluation.average_precision import mask_box
from crate_transformer.reports.segments import label_picture, masks_over

_LARGEST_ID = 2**53  # smaller integers are exact in every JSON parser


@dataclass(frozen=True)
class FoundObject:
    """One object in COCO's results format."""

    segmentation: dict[str, str | list[int]]
    bbox: list[float]
    score: float
    category_id: int = 1


@dataclass(frozen=True)
class ObjectRecord(Record):
    """The objects of an image."""

    objects: list[FoundObject]


class ObjectFolder(SegmentFolder[ObjectRecord]):
    """A mask of each image that numbers its objects, and all objects in COCO's results format."""

    record, records = ObjectRecord, "objects"

    def describe(self, picture: Image.Image, found: np.ndarray) -> tuple[dict[str, Any], Image.Image, Image.Image]:
        kept = [mask for mask in found if mask.any()]
        objects = [FoundObject(encode_mask(mask), mask_box(mask), 1 / (1 + rank)) for rank, mask in enumerate(kept)]
        return {"objects": objects}, label_picture(found), masks_over(np.asarray(picture), found)

    def lists(self) -> tuple[dict[str, Any], list[str]]:
        found, pictures = [], []
        for path, image_id in self._ids().items():
            record = self.finished[path]
            found += [{"image_id": image_id, **asdict(entry)} for entry in record.objects]
            masks, *_ = self.names(path)
            pictures.append(
                {"image": record.image, "image_id": image_id, "objects": len(record.objects), "masks": masks}
            )
        empty = [entry["image"] for entry in pictures if not entry["objects"]]
        objects, images = f"{len(found)} object{'s' * (len(found) != 1)}", f"image{'s' * (len(pictures) > 1)}"
        said = f"{objects} in {len(pictures)} {images}: {self.folder}"
        lists = {"coco_results.json": found, "results.json": {"pictures": pictures, "nothing_found": empty}}
        return lists, [said, *([f"no objects found (empty mask): {listing(empty)}"] if empty else [])]

    def _ids(self) -> dict[Path, int]:
        """COCO id of every finished image: its name if all names are different numbers, else its index."""
        order = {path: place for place, path in enumerate(self.stems) if path in self.finished}
        numbers = {path: int(path.stem) for path in order if path.stem.isdecimal()}
        named = len(set(numbers.values())) == len(order) and max(numbers.values(), default=0) < _LARGEST_ID
        return numbers if named else order
