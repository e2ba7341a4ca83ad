"""Images with masks in COCO format: ``instances.json`` beside ``images/``."""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Bool
from msgspec import Meta

from crate_transformer.data.images import read_picture
from crate_transformer.data.runs import decode_mask, draw_polygons
from crate_transformer.data.segmentation_samples import SegmentationSample, SegmentationSamples
from crate_transformer.storage import read_record
from crate_transformer.storage.limits import check_memory, memory_limit

_LOG = logging.getLogger("crate_transformer.data")
_Side = Annotated[int, Meta(ge=1, le=1_000_000)]
_Number = Annotated[int, Meta(ge=0, lt=1 << 31)]


@dataclass(frozen=True)
class _Runs:
    size: tuple[_Number, _Number]
    counts: str | list[_Number]


@dataclass(frozen=True)
class _Image:
    id: int | str
    file_name: str
    height: _Side
    width: _Side


@dataclass(frozen=True)
class _Annotation:
    image_id: int | str
    category_id: _Number
    segmentation: list[list[float]] | _Runs | None = None
    iscrowd: bool | _Number = 0


@dataclass(frozen=True)
class _Category:
    id: _Number
    name: str


@dataclass(frozen=True)
class _Instances:
    images: list[_Image]
    annotations: list[_Annotation]
    categories: Sequence[_Category] = ()


def open_coco(root: Path) -> SegmentationSamples:
    """The samples of ``root/instances.json``; image ids may be numbers or strings.

    Skipped, with a warning that counts them, are annotations of images that are not listed, annotations without a mask
    (a box only), polygons of fewer than three points, and masks with a polygon that cannot be drawn.

    Raises:
        ValueError: the file is not in COCO format, or lists an image twice.
    """
    file = root / "instances.json"
    content = read_record(file, _Instances, limit=memory_limit() // 4)
    for what, values in (
        ("file_name", [image.file_name for image in content.images]),
        ("id", [str(image.id) for image in content.images]),
    ):
        if twice := [value for value, count in Counter(values).items() if count > 1]:
            raise ValueError(f"{file} lists two images with the {what} {twice[0]!r}: each image needs its own")
    images = {image.file_name: image for image in content.images}
    of_image = _annotations_by_image(file, content)

    def load(name: str) -> SegmentationSample:
        listed, annotations = images[name], of_image[str(images[name].id)]
        picture = read_picture(root / "images", name)
        height, width = listed.height, listed.width
        if (picture.height, picture.width) != (height, width):
            raise ValueError(
                f"{name} has {picture.height} x {picture.width} pixels, but {file} says {height} x {width}"
            )
        classes: dict[int, np.ndarray] = {}
        masks, crowd, odd = [], [], []
        try:
            check_memory(len(annotations) * height * width, memory_limit())
            for annotation in annotations:
                try:
                    mask = _draw(annotation, height, width)
                except ValueError as error:
                    if isinstance(annotation.segmentation, _Runs):
                        raise
                    odd.append(error)
                    continue
                if not mask.any():
                    _LOG.warning("%s: skipped a mask of %s that covers no pixel", file, name)
                    continue
                label = annotation.category_id
                classes[label] = classes[label] | mask if label in classes else mask
                masks.append(mask)
                crowd.append(bool(annotation.iscrowd))
        except ValueError as error:
            raise ValueError(f"a mask of {name} in {file} does not fit: {error}") from error
        if odd:
            _LOG.warning("%s: skipped %d of %d masks of %s: %s", file, len(odd), len(annotations), name, odd[0])
        return SegmentationSample(name=name, picture=picture, classes=classes, objects=tuple(masks), crowd=tuple(crowd))

    class_names = {category.id: category.name for category in content.categories}
    return SegmentationSamples(
        root=root,
        layout="coco",
        names=tuple(images),
        files={name: f"images/{name}" for name in images},
        mask_files=dict.fromkeys(images, file.name),
        class_names=class_names,
        has_objects=True,
        load=load,
    )


def _annotations_by_image(file: Path, content: _Instances) -> defaultdict[str, list[_Annotation]]:
    """The annotations with a mask, by the ``id`` of their image as a string; a warning counts the others."""
    known, categories = {str(image.id) for image in content.images}, {category.id for category in content.categories}
    of_image, left_out, unnamed = defaultdict(list), Counter(), 0
    for annotation in content.annotations:
        if str(annotation.image_id) not in known:
            left_out["of images that are not listed"] += 1
        elif not annotation.segmentation or (
            isinstance(annotation.segmentation, list) and not any(map(_has_area, annotation.segmentation))
        ):
            left_out["without a mask"] += 1
        else:
            of_image[str(annotation.image_id)].append(annotation)
            unnamed += annotation.category_id not in categories
    for why, count in left_out.items():
        _LOG.warning("%s: skipped %d annotations %s", file, count, why)
    if categories and unnamed:
        _LOG.warning("%s: %d annotations have a category_id that is not listed", file, unnamed)
    return of_image


def _has_area(polygon: Sequence[float]) -> bool:
    return len(polygon) >= 6


def _draw(annotation: _Annotation, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    if isinstance(annotation.segmentation, _Runs):
        runs = annotation.segmentation
        return decode_mask({"size": runs.size, "counts": runs.counts}, height, width)
    return draw_polygons([polygon for polygon in annotation.segmentation or () if _has_area(polygon)], height, width)
