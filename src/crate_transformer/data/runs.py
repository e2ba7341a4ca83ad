"""COCO run-length encoding: masks as alternating counts of zeros and ones, column by column."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from pycocotools import mask as coco_mask


def encode_mask(mask: Bool[np.ndarray, "height width"]) -> dict[str, Any]:
    """The mask in COCO's format: ``size`` (height, width) and ``counts`` as compressed text."""
    runs: Any = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": runs["counts"].decode("ascii")}


def decode_mask(runs: Mapping[str, Any], height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """The mask of an image of this size.

    pycocotools is not used because it does not check damaged run lengths and crashes the process (version 2.0.11).

    Args:
        runs: ``counts`` as compressed text or as a list of numbers, and ``size``.

    Raises:
        ValueError: the runs belong to an image of another size, or are damaged.
    """
    try:
        size, counts = [int(side) for side in runs["size"]], runs["counts"]
        lengths = _decompress(counts) if isinstance(counts, (str, bytes)) else [int(count) for count in counts]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the run lengths of a mask are damaged ({error})") from error
    if size != [height, width]:
        raise ValueError(
            f"the run lengths are for {' x '.join(map(str, size))} pixels, but the image is {height} x {width}"
        )
    if min(lengths, default=0) < 0 or sum(lengths) != height * width:
        raise ValueError(f"the run lengths do not add up to {height} x {width} pixels")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T


def draw_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """The union of polygons (x and y alternating), rasterised as in pycocotools.

    Raises:
        ValueError: a polygon has fewer than three points or an odd number of coordinates, or lies farther outside the
            image than the size of the image.
    """
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a COCO polygon needs at least three points, with x and y alternating")
        points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
        outside = ~((points >= -np.array([width, height])) & (points <= 2 * np.array([width, height])))
        if outside.any():
            raise ValueError(
                f"a polygon has the coordinate {points[outside][0]}, far outside the {height} x {width} pixels"
            )
    shapes: Any = [list(map(float, polygon)) for polygon in polygons]
    runs: Any = coco_mask.merge(coco_mask.frPyObjects(shapes, height, width))
    return decode_mask(runs, height, width)


def _decompress(text: str | bytes) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for code in text.encode("ascii") if isinstance(text, str) else text:
        piece = code - 48
        if not 0 <= piece < 64:
            raise ValueError(f"{chr(code)!r} is not a valid character in compressed run lengths")
        if shift > 60:
            raise ValueError("a number has more than 64 bits")
        value |= (piece & 31) << shift
        shift += 5
        if not piece & 32:
            value -= (1 << shift) if piece & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("the text ends within a number")
    return counts
