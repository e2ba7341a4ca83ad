"""Data sets of small images, decoded once and kept in memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from crate_transformer.data.arrays import ArrayImages
from crate_transformer.data.decode import BrokenImageError
from crate_transformer.data.source import Source
from crate_transformer.data.transforms import pixels, resize_crop
from crate_transformer.data.unreadable import note_unreadable


class SizesDiffer(ValueError):  # noqa: N818 -- says what is the case
    """Images that should have the same size have different sizes."""


def in_memory(source: Source, *, progress: Callable[[int], object] | None = None) -> Source:
    """Small images of one size are decoded once; any other source is returned as it is and read on demand.

    Args:
        progress: Called after each image with the number decoded.
    """
    if isinstance(source, ArrayImages) or not fits_in_memory(source):
        return source
    try:
        return to_arrays(source, progress=progress)
    except SizesDiffer:
        return source


def fits_in_memory(source: Source, *, largest_side: int = 96, limit: int = 2 * 1024**3) -> bool:
    """Whether sampled images have the same small size and all images take less than 2 GiB, so that ``to_arrays``
    pays off."""
    size = common_size(source)
    return size is not None and max(size) <= largest_side and len(source) * 3 * size[0] * size[1] <= limit


def common_size(source: Source) -> tuple[int, int] | None:
    """Height and width if images sampled over the whole set have the same size, else ``None``."""
    sizes = set()
    for index in range(0, len(source), max(1, len(source) // 64)):
        try:
            picture = source.read(index)
        except BrokenImageError as error:
            note_unreadable(source, {index: str(error)})
        else:
            sizes.add((picture.height, picture.width))
    return sizes.pop() if len(sizes) == 1 else None


def to_arrays(
    source: Source,
    size: tuple[int, int] | None = None,
    *,
    threads: int = 2,
    progress: Callable[[int], object] | None = None,
) -> ArrayImages:
    """Decode all images into one tensor of bytes; unreadable ones are skipped.

    Args:
        size: Height and width; images of another size are resized and cropped. ``None``: the common size.
        threads: Number of decoding threads.
        progress: Called after each image with the number done.

    Raises:
        SizesDiffer: No size is given, and the images have different sizes.
        ValueError: Too many images are unreadable.
    """
    common = size or common_size(source)
    if common is None:
        raise SizesDiffer(f"the images of {source.where} differ in size: give the size to resize them to")
    images = torch.empty(len(source), 3, *common, dtype=torch.uint8)

    def decode(index: int) -> str | None:
        try:
            picture = source.read(index)
        except BrokenImageError as error:
            return str(error)
        if (found := (picture.height, picture.width)) != common:
            if size is None:
                raise SizesDiffer(
                    f"{source.where}/{source.name(index)} has {found[0]} x {found[1]} pixels, "
                    f"others {common[0]} x {common[1]}: give the size to resize them to"
                )
            picture = resize_crop(picture, size)
        images[index] = pixels(picture)
        return None

    kept = []
    pool = ThreadPoolExecutor(threads)
    try:
        for index, reason in enumerate(pool.map(decode, range(len(source)))):
            if reason is None:
                kept.append(index)
            else:
                note_unreadable(source, {index: reason})
            if progress:
                progress(index + 1)
    finally:
        pool.shutdown(cancel_futures=True)
    labels, targets = source.labels, getattr(source, "targets", None)
    arrays = ArrayImages(
        images,
        None if labels is None else torch.as_tensor(labels),
        source.classes,
        targets=None if targets is None else torch.as_tensor(targets),
    )
    return arrays if len(kept) == len(source) else arrays.subset(kept)
