"""Images with masks, one at a time or cropped to one size."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from PIL import Image
from torch import Tensor

from crate_transformer.data.transforms import pixels, resize_crop


@dataclass(frozen=True, eq=False, kw_only=True)
class SegmentationSample:
    """An image, one mask for each class in it, and the masks of single objects if these are known.

    ``undecided`` pixels belong to nothing that is known and are not scored. ``crowd`` is true for objects that are
    crowds (COCO's ``iscrowd``).
    """

    name: str
    picture: Image.Image
    classes: dict[int, np.ndarray]
    undecided: np.ndarray | None = None
    objects: tuple[np.ndarray, ...] = ()
    crowd: tuple[bool, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class SegmentationSamples:
    """Samples below ``root``, read one at a time when iterated; made by ``open_segmentation``.

    ``files`` are the image files by name, as paths below ``root``, and ``mask_files`` the files of their masks.
    ``has_objects`` says whether the data separates single objects.
    """

    root: Path
    layout: Literal["coco", "voc", "masks"]
    names: tuple[str, ...]
    files: dict[str, str]
    mask_files: dict[str, str]
    class_names: dict[int, str]
    has_objects: bool
    load: Callable[[str], SegmentationSample]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[SegmentationSample]:
        return map(self.load, self.names)

    def first(self, count: int | None) -> "SegmentationSamples":
        """The first ``count`` samples; all if ``None``."""
        return replace(self, names=self.names[:count])


@dataclass(frozen=True, eq=False, kw_only=True)
class SegmentationArrays:
    """Samples cropped to squares of one size: bytes, and one entry of ``masks`` for each class in each image.

    ``image`` and ``label`` are the index of the image and the class of each mask. ``undecided`` pixels of each image
    are not scored; ``None`` if there are none.
    """

    pixels: UInt8[Tensor, "images 3 side side"]
    masks: Bool[Tensor, "masks side side"]
    image: Int[np.ndarray, " masks"]
    label: Int[np.ndarray, " masks"]
    names: tuple[str, ...]
    undecided: Bool[Tensor, "images side side"] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Foregrounds:
    """Samples cropped to squares of one size: bytes, and the union of the masks of each image; ``undecided`` as in
    ``SegmentationArrays``, of which these are the images ``index``."""

    pixels: UInt8[Tensor, "images 3 side side"]
    masks: Bool[Tensor, "images side side"]
    index: Int[np.ndarray, " images"]
    names: tuple[str, ...]
    undecided: Bool[Tensor, "images side side"] | None = None


def resize_and_centre_crop(samples: Iterable[SegmentationSample], size: int) -> SegmentationArrays:
    """Resize the short side to ``size`` pixels and crop the centre; masks use nearest-neighbour interpolation.

    Raises:
        ValueError: there are no samples.
    """
    cut, masks, image, label, names, undecided = [], [], [], [], [], []
    for sample in samples:
        for number, mask in sorted(sample.classes.items()):
            masks.append(cut_mask(mask, size))
            image.append(len(names))
            label.append(number)
        cut.append(pixels(resize_crop(sample.picture, (size, size))))
        names.append(sample.name)
        nothing = torch.zeros(size, size, dtype=torch.bool)
        undecided.append(nothing if sample.undecided is None else cut_mask(sample.undecided, size))
    if not names:
        raise ValueError("there are no samples to crop: give at least one")
    return SegmentationArrays(
        pixels=torch.stack(cut),
        masks=torch.stack(masks) if masks else torch.zeros(0, size, size, dtype=torch.bool),
        image=np.array(image, dtype=np.int64),
        label=np.array(label, dtype=np.int64),
        names=tuple(names),
        undecided=torch.stack(undecided) if any(map(torch.any, undecided)) else None,
    )


def crop_foregrounds(
    samples: Iterable[SegmentationSample], size: int, *, coverage: tuple[float, float] = (0.03, 0.60)
) -> Foregrounds:
    """``foregrounds`` of ``resize_and_centre_crop``; raises ``ValueError`` as they do."""
    return foregrounds(resize_and_centre_crop(samples, size), coverage=coverage)


def foregrounds(arrays: SegmentationArrays, *, coverage: tuple[float, float] = (0.03, 0.60)) -> Foregrounds:
    """The union of all masks of each image (crowds included).

    Args:
        coverage: images whose union covers a smaller or larger fraction of the square are skipped.

    Raises:
        ValueError: no image remains.
    """
    masks = torch.zeros(len(arrays.names), *arrays.pixels.shape[-2:], dtype=torch.bool)
    for image, mask in zip(arrays.image, arrays.masks, strict=True):
        masks[image] |= mask
    covered = masks.float().mean(dim=(1, 2))
    kept = ((coverage[0] <= covered) & (covered <= coverage[1])).nonzero()[:, 0]
    if not len(kept):
        raise ValueError(f"there is no image whose masks cover {coverage[0]:.0%} to {coverage[1]:.0%} of it")
    return Foregrounds(
        pixels=arrays.pixels[kept],
        masks=masks[kept],
        index=kept.numpy(),
        names=tuple(arrays.names[index] for index in kept),
        undecided=None if arrays.undecided is None else arrays.undecided[kept],
    )


def cut_mask(mask: Bool[np.ndarray, "height width"], size: int) -> Bool[Tensor, "side side"]:
    """The centre of a mask, resized and cropped as an image."""
    whole = Image.fromarray(mask.astype(np.uint8))
    return torch.from_numpy(np.array(resize_crop(whole, (size, size), interpolation="nearest"))) > 0
