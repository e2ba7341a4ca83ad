"""Which sets of pictures are decoded once and kept in memory."""

from collections.abc import Callable

from crate_transformer.data.arrays import ArrayImages
from crate_transformer.data.folder import ImageFolder, SizesDiffer


def in_memory(images: ImageFolder, *, progress: Callable[[int], object] | None = None) -> ArrayImages | ImageFolder:
    """Small pictures of one size decoded once, to be augmented as batches; any others as they are, read when needed.

    Args:
        progress: Called after each picture with the number decoded.
    """
    if not fits_in_memory(images):
        return images
    try:
        return images.to_arrays(progress=progress)
    except SizesDiffer:
        return images


def fits_in_memory(images: ImageFolder, *, largest_side: int = 96, limit: int = 2 * 1024**3) -> bool:
    """Whether sampled pictures are of one small size and all are together below 2 GiB, so that ``to_arrays`` pays."""
    size = images.common_size()
    return size is not None and max(size) <= largest_side and len(images) * 3 * size[0] * size[1] <= limit
