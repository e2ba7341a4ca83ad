"""Images with annotated parts: ``images/`` beside ``index.json``, with part points, part masks or part boxes."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from PIL import Image

from crate_transformer.data.images import is_image, read_picture
from crate_transformer.data.mask_pictures import by_stem, open_mask_pictures
from crate_transformer.data.part_samples import Box, PartSample, PartSamples
from crate_transformer.data.transforms import MAX_ASPECT
from crate_transformer.storage import read_record
from crate_transformer.storage.limits import memory_limit

_LOG = logging.getLogger("crate_transformer.data")
_Digits = Annotated[str, msgspec.Meta(pattern="^(0|[1-9][0-9]{0,3})$")]
_Pixel = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]


class _Record(msgspec.Struct, frozen=True):
    """The entry of an image in ``index.json``; other fields are ignored."""

    width: int
    height: int
    points: dict[str, tuple[_Pixel, _Pixel]] = msgspec.field(default_factory=dict)
    boxes: dict[str, tuple[_Pixel, _Pixel, _Pixel, _Pixel]] = msgspec.field(default_factory=dict)
    parts: tuple[str, ...] = ()
    kind: str | None = msgspec.field(name="class", default=None)
    breed: str | None = None


def is_part_folder(root: Path) -> bool:
    """Whether the masks of a folder are those of parts, by ``parts.json`` in it or beside it."""
    return any((folder / "parts.json").is_file() for folder in (root, root.parent))


def open_part_samples(root: str | Path) -> PartSamples:
    """The samples of ``images/`` and ``index.json``, an object {image without suffix: record}.

    Parts are (1) the ``points`` of the records, whose one box is that of the object; or (2) the regions of ``masks/``,
    numbered as in ``parts.json`` (in the folder or beside it; several numbers of one name are one part); or (3) the
    ``boxes`` of the records, where ``masks/`` marks whole objects. In (2) and (3) the box of the object is that of its
    mask. Species are the fields ``class`` or ``breed``. Images without a part are skipped; ``crop_parts`` skips those
    whose mask is empty.

    Raises:
        FileNotFoundError: the folder or its index does not exist.
        ValueError: the index is not valid, an image is missing, or there are no parts.
    """
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist")
    file = root / "index.json"
    if not ((root / "images").is_dir() and file.is_file()):
        raise ValueError(f"{root} is not a data set of parts: it needs images/ and index.json")
    records: dict[str, _Record] = read_record(file, dict[str, _Record], limit=memory_limit() // 4)
    images = by_stem(root / "images", is_image)
    for name in records:
        if len(images.get(name, ())) != 1:
            raise ValueError(f"{file} lists {name}, of which {root / 'images'} has {len(images.get(name, ()))} images")
    if any(record.points for record in records.values()):
        kept, parts, load = _points(root, records, images)
    elif is_part_folder(root):
        kept, parts, load = _regions(root, records)
    else:
        kept, parts, load = _boxes(root, records)
    if not kept:
        raise ValueError(f"{root} has no image with a part: it needs points, masks with parts.json, or boxes")
    if len(kept) < len(records):
        _LOG.warning("%s: skipped %d images without a part", root, len(records) - len(kept))
    groups = [record.kind or record.breed for record in records.values()]

    def load_checked(name: str) -> PartSample:
        record, (picture, box, points, regions) = records[name], load(name)
        if picture.size != (record.width, record.height):
            raise ValueError(f"{name} has the size {picture.size}, but {file} says {(record.width, record.height)}")
        if max(picture.size) > MAX_ASPECT * min(picture.size):
            raise ValueError(f"{name} in {root} is more than {MAX_ASPECT} times as long as wide: leave it out")
        if (points or regions) and not (box[0] < box[2] and box[1] < box[3]):
            raise ValueError(f"the box of {name} in {root} is empty: it needs left, top, right and bottom edge")
        group = record.kind or record.breed or name
        return PartSample(name=name, group=group, picture=picture, box=box, points=points, regions=regions)

    return PartSamples(root=root, names=tuple(kept), parts=parts, has_groups=all(groups), load=load_checked)


_Loaded = tuple[Image.Image, Box, dict[str, tuple[float, float]], dict[str, np.ndarray]]
_Found = tuple[list[str], tuple[str, ...], Callable[[str], _Loaded]]


def _points(root: Path, records: dict[str, _Record], images: dict[str, list[str]]) -> _Found:
    kept = [name for name, record in records.items() if record.points and len(record.boxes) == 1]
    parts = tuple(sorted({part for name in kept for part in records[name].points}))

    def load(name: str) -> _Loaded:
        (box,) = records[name].boxes.values()
        return read_picture(root / "images", images[name][0]), box, records[name].points, {}

    return kept, parts, load


def _regions(root: Path, records: dict[str, _Record]) -> _Found:
    file = next(folder / "parts.json" for folder in (root, root.parent) if (folder / "parts.json").is_file())
    numbered = {int(number): part for number, part in read_record(file, dict[_Digits, str]).items()}
    masks = open_mask_pictures(root, "masks", "images", "masks", "objects")

    def load(name: str) -> _Loaded:
        sample = masks.load(name)
        if not sample.classes.keys() <= numbered.keys():
            raise ValueError(f"the mask of {name} in {root} has the values {list(sample.classes)}: see {file}")
        regions: dict[str, np.ndarray] = {}
        for number, mask in sample.classes.items():
            part = numbered[number]
            regions[part] = regions[part] | mask if part in regions else mask
        return sample.picture, _around(sample.classes), {}, regions

    return [name for name, record in records.items() if record.parts], tuple(dict.fromkeys(numbered.values())), load


def _boxes(root: Path, records: dict[str, _Record]) -> _Found:
    kept = [name for name, record in records.items() if record.boxes]
    parts = tuple(sorted({part for name in kept for part in records[name].boxes}))
    masks = open_mask_pictures(root, "masks", "images", "masks", "objects")

    def load(name: str) -> _Loaded:
        sample = masks.load(name)
        regions = {}
        for part, box in records[name].boxes.items() if sample.classes else ():
            left, top, right, bottom = (max(0, round(edge)) for edge in box)
            regions[part] = np.zeros((sample.picture.height, sample.picture.width), dtype=bool)
            regions[part][top:bottom, left:right] = True
        return sample.picture, _around(sample.classes), {}, regions

    return kept, parts, load


def _around(masks: dict[int, np.ndarray]) -> Box:
    """The tight box around all masks; empty without any."""
    if not masks:
        return 0.0, 0.0, 0.0, 0.0
    rows, columns = (np.flatnonzero(np.any(list(masks.values()), axis=axes)) for axes in ((0, 2), (0, 1)))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
