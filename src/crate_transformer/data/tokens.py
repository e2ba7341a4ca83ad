"""A text as windows of tokens."""

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from crate_transformer.data.token_files import TokenArray

NO_TOKEN = -1
"""Padding value beyond the end of the text."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """A part of a text, as the windows of ``context_length`` tokens that cover it.

    Args:
        arrays: the arrays of the whole text, in order.
        first: start of the part.
        stop: end of the part.
        digest: 16 hex digits of the whole text.
        sizes: number of bytes per token, if known.
    """

    where: str
    arrays: tuple[TokenArray, ...]
    first: int
    stop: int
    context_length: int
    digest: str
    sizes: Int64[np.ndarray, " ids"] | None = None
    unreadable: dict[int, str] = field(default_factory=dict)
    """Always empty."""

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(map(len, self.arrays)))

    @property
    def num_tokens(self) -> int:
        """Number of tokens of the part."""
        return self.stop - self.first

    def __len__(self) -> int:
        """Number of windows; every token but the first is predicted once."""
        return -(-(self.num_tokens - 1) // self.context_length)

    def read(self, start: int, stop: int) -> Int64[np.ndarray, " tokens"]:
        """Tokens from ``start`` to ``stop``, counted from the beginning of the part; fewer at its end."""
        start, stop = self.first + start, min(self.first + stop, self.stop)
        found = []
        while start < stop:
            number = bisect_right(self._ends, start)
            begins = self._ends[number] - len(self.arrays[number])
            piece = self.arrays[number][start - begins : min(stop, self._ends[number]) - begins]
            found.append(piece.astype(np.int64))
            start += len(piece)
        return np.concatenate(found)

    def between(self, first: int, stop: int) -> "Tokens":
        """Another part of the same text."""
        return replace(self, first=first, stop=stop)

    def name(self, index: int) -> str:
        """The start of a window."""
        return f"token {self.first + index * self.context_length:,}"

    def fingerprint(self) -> str:
        """16 hex digits that depend on the text, the part and the context length."""
        told = f"{self.digest} {self.first} {self.stop} {self.context_length}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def window(
    source: Tokens, index: int, random: np.random.Generator | None, size: tuple[int, int]
) -> dict[str, Int64[Tensor, " tokens"]]:
    """``size[1]`` tokens: the context and the token after it.

    In training, the text is divided into as many equal parts as there are windows, and the window starts at a random
    position in part ``index``: an epoch takes one window from each part, and all windows are equally likely. Without
    random numbers the windows follow each other, and the last one is padded with ``NO_TOKEN``.
    """
    length = size[1]
    if random is None:
        found = source.read(index * source.context_length, index * source.context_length + length)
        return {"tokens": torch.from_numpy(np.pad(found, (0, length - len(found)), constant_values=NO_TOKEN))}
    places, count = source.num_tokens - length + 1, len(source)
    start = int(random.integers(index * places // count, (index + 1) * places // count))
    return {"tokens": torch.from_numpy(source.read(start, start + length))}
