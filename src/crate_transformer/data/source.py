"""What pictures can be read from, and what is made of one of them."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image
from torch import Tensor


@runtime_checkable
class Source(Protocol):
    """Labelled pictures that can be read by index: a folder, a zip file, shards, or an array.

    ``labels`` index ``classes``; ``None`` where there are none. ``unreadable`` collects the pictures that could not be
    read, index -> reason; whoever reads many pictures keeps it with ``note_unreadable``, the source itself never does.
    A source may have ``targets``, a float matrix with a row for each picture, instead of one class each.
    """

    where: str
    """The folder or file, for messages."""
    classes: tuple[str, ...]
    labels: Sequence[int] | None
    unreadable: dict[int, str]

    def __len__(self) -> int: ...

    def read(self, index: int, at_least: Callable[[int, int], tuple[float, float]] | None = None) -> Image.Image:
        """One picture as upright RGB; ``BrokenImageError`` if it cannot be read.

        Args:
            at_least: Maps width and height of the picture to those that suffice: it may then come reduced.
        """

    def name(self, index: int) -> str:
        """What one picture is called within the source."""

    def subset(self, indices: Sequence[int]) -> "Source":
        """The pictures at these positions, in this order, with the same classes."""

    def keys(self) -> list[str]:
        """What tells each picture from others wherever the data lies, 16 hex digits each."""

    def fingerprint(self) -> str:
        """16 hex digits that change when pictures or labels do."""


View = Callable[[Source, int, np.random.Generator, tuple[int, int]], dict[str, Tensor]]
"""``view(source, index, random, (height, width))``: what a model is to see of one picture, as bytes, channels first."""
