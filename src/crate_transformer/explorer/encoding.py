"""Arrays as the page reads them: base64 of little-endian numbers, row by row."""

import base64
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

Bits = Literal[8, 16]


def encoded(values: np.ndarray) -> str:
    """The numbers of an array as they lie in memory, little-endian."""
    values = np.ascontiguousarray(values)
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()).decode()


def quantised(values: Float[np.ndarray, "heads tokens head_dim"], bits: Bits) -> dict[str, str]:
    """Signed integers with one scale for each token of each head: ``value = integer * scale``.

    The error of a value is at most half a scale, 1 / 254 (8 bits) or 1 / 65,534 (16 bits) of the token's largest entry.
    """
    largest = 2 ** (bits - 1) - 1
    scales = np.abs(values).max(axis=-1) / largest
    integers = np.rint(values / np.where(scales == 0, 1, scales)[..., None])
    return {"values": encoded(integers.astype(f"i{bits // 8}")), "scales": encoded(scales.astype(np.float32))}


def shares(values: Float[np.ndarray, "heads tokens"], bits: Bits) -> str:
    """Numbers from 0 to 1 as unsigned integers."""
    return encoded(np.rint(values * (2**bits - 1)).astype(f"u{bits // 8}"))


def bitmap(mask: Bool[np.ndarray, "rows columns"]) -> str:
    """One bit a patch, row by row, the first patch in the highest bit of the first byte."""
    return encoded(np.packbits(mask.ravel()))
