"""What samples can be read from, and what is made of one of them."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image
from torch import Tensor


@runtime_checkable
class Samples(Protocol):
    """What can be trained on: so many samples, of which a view makes the model's inputs.

    ``unreadable`` collects the samples that could not be read, index -> reason; whoever reads many keeps it with
    ``note_unreadable``, the source itself never does. There may be ``labels``, or ``targets``, a float matrix with a
    row for each sample.
    """

    where: str
    """The folder or file, for messages."""
    unreadable: dict[int, str]

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What one sample is called within the source."""

    def fingerprint(self) -> str:
        """16 hex digits that change when samples or labels do."""


@runtime_checkable
class Source(Samples, Protocol):
    """Labelled pictures that can be read by index: a folder, a zip file, shards, or an array.

    ``labels`` index ``classes``; ``None`` where there are none. A source may have ``targets``, a float matrix with a
    row for each picture, instead of one class each.
    """

    classes: tuple[str, ...]
    labels: Sequence[int] | None

    def read(self, index: int, at_least: Callable[[int, int], tuple[float, float]] | None = None) -> Image.Image:
        """One picture as upright RGB; ``BrokenImageError`` if it cannot be read.

        Args:
            at_least: Maps width and height of the picture to those that suffice: it may then come reduced.
        """

    def subset(self, indices: Sequence[int]) -> "Source":
        """The pictures at these positions, in this order, with the same classes."""

    def keys(self) -> list[str]:
        """What tells each picture from others wherever the data lies, 16 hex digits each."""


View = Callable[[Samples, int, np.random.Generator, tuple[int, int]], dict[str, Tensor]]
"""``view(source, index, random, (height, width))``: what a model is to see of one sample; pictures as bytes,
channels first."""
