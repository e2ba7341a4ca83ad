"""Images with the parts of one object each, as points or as regions, cropped to one size."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from crate_transformer.data.segmentation_samples import cut_mask
from crate_transformer.data.transforms import crop_geometry, pixels, resize_crop
from crate_transformer.storage.limits import check_memory, memory_limit

_LOG = logging.getLogger("crate_transformer.data")
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False, kw_only=True)
class PartSample:
    """An image with one object in a ``box`` (left, top, right and bottom edge in pixels) and its visible parts: points
    (x, y) or masks; none if its mask is empty. ``group`` is the species, or the name of the image if none is known."""

    name: str
    group: str
    picture: Image.Image
    box: Box
    points: dict[str, tuple[float, float]]
    regions: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class PartSamples:
    """Samples below ``root``, read one at a time when iterated; made by ``open_part_samples``. ``has_groups`` says
    whether the species are known."""

    root: Path
    names: tuple[str, ...]
    parts: tuple[str, ...]
    has_groups: bool
    load: Callable[[str], PartSample]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[PartSample]:
        return map(self.load, self.names)

    def spread(self, count: int | None) -> "PartSamples":
        """``count`` samples, spread evenly over the list, so that all species are among them; all if ``None``."""
        count = min(count or len(self), len(self))
        return replace(self, names=tuple(self.names[index * len(self) // count] for index in range(count)))


@dataclass(frozen=True, eq=False, kw_only=True)
class PartArrays:
    """Samples cropped to squares of one size: bytes, the box of each object (it may reach beyond the square), and its
    parts: ``points`` (x, y), NaN if not visible, or ``regions``, empty if not visible."""

    pixels: UInt8[Tensor, "images 3 side side"]
    boxes: Float[np.ndarray, "images 4"]
    points: Float[np.ndarray, "images parts 2"] | None
    regions: Bool[np.ndarray, "images parts side side"] | None
    parts: tuple[str, ...]
    groups: tuple[str, ...]
    names: tuple[str, ...]


def crop_parts(samples: Iterable[PartSample], parts: tuple[str, ...], size: int) -> PartArrays:
    """Resize the short side to ``size`` pixels and crop the centre; parts outside of it are not visible. Samples
    without parts are skipped.

    Raises:
        ValueError: there are no samples with parts, some have points and some regions, or the regions would take too
            much memory.
    """
    cut, boxes, points, regions, names, groups = [], [], [], [], [], []
    skipped = 0
    for sample in samples:
        if not (sample.points or sample.regions):
            skipped += 1
            continue
        width, height = sample.picture.size
        columns, rows, left, top = crop_geometry((width, height), (size, size))
        scale, offset = np.array([columns / width, rows / height]), np.array([left, top])
        cut.append(pixels(resize_crop(sample.picture, (size, size))))
        boxes.append((np.array(sample.box).reshape(2, 2) * scale - offset).ravel())
        names.append(sample.name)
        groups.append(sample.group)
        if sample.points:
            places = np.array([sample.points.get(part, (np.nan, np.nan)) for part in parts]) * scale - offset
            inside = ((places >= 0) & (places < size)).all(axis=1, keepdims=True)
            points.append(np.where(inside, places, np.nan))
        if sample.regions:
            nothing = np.zeros((height, width), dtype=bool)
            check_memory((1 + len(regions)) * len(parts) * size**2, memory_limit())
            regions.append(np.stack([cut_mask(sample.regions.get(part, nothing), size).numpy() for part in parts]))
    if skipped:
        _LOG.warning("skipped %d images with an empty mask", skipped)
    if not names:
        raise ValueError("there are no samples to crop: give at least one")
    if not {len(points), len(regions)} == {0, len(names)}:
        raise ValueError("some images have points and others regions: evaluate them separately")
    return PartArrays(
        pixels=torch.stack(cut),
        boxes=np.stack(boxes),
        points=np.stack(points) if points else None,
        regions=np.stack(regions) if regions else None,
        parts=tuple(parts),
        groups=tuple(groups),
        names=tuple(names),
    )
