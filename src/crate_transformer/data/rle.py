"""COCO's run lengths: masks as counts of zeros and ones in turn, column by column."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool


def encode_mask(mask: Bool[np.ndarray, "height width"]) -> dict[str, object]:
    """The mask as COCO stores it: ``size`` (height, width) and ``counts`` as compressed text."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    text = bytearray()
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            piece, value = value & 31, value >> 5
            more = value != (-1 if piece & 16 else 0)
            text.append(48 + (piece | 32 if more else piece))
    return {"size": list(mask.shape), "counts": text.decode("ascii")}


def decode_mask(runs: Mapping[str, object], height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """The mask of an image of this size.

    Args:
        runs: ``counts`` as compressed text or as a list of numbers, and ``size``.

    Raises:
        ValueError: the runs belong to an image of another size, or are damaged.
    """
    try:
        size, counts = [int(side) for side in runs["size"]], runs["counts"]
        lengths = _decompress(counts) if isinstance(counts, (str, bytes)) else [int(count) for count in counts]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"these run lengths of a mask are damaged ({error})") from error
    if size != [height, width]:
        raise ValueError(f"the run lengths are of {size[0]} x {size[-1]} pixels, but the image is {height} x {width}")
    if min(lengths, default=0) < 0 or sum(lengths) != height * width:
        raise ValueError(f"the run lengths do not add up to {height} x {width} pixels")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T


def _decompress(text: str | bytes) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for code in text.encode("ascii") if isinstance(text, str) else text:
        piece = code - 48
        if not 0 <= piece < 64:
            raise ValueError(f"{chr(code)!r} is no character of compressed run lengths")
        value |= (piece & 31) << shift
        shift += 5
        if not piece & 32:
            value -= (1 << shift) if piece & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("the text ends within a number")
    return counts
