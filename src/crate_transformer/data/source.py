"""Protocols of data sources, and of views of their samples."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image
from torch import Tensor


@runtime_checkable
class Samples(Protocol):
    """Training data: a number of samples, from which a view makes the model's inputs.

    ``unreadable`` collects the samples that could not be read: index -> reason. Loaders add to it with
    ``note_unreadable``; the source itself does not. There may be ``labels``, or ``targets``, a float matrix with one
    row per sample.
    """

    where: str
    """The folder or file, for messages."""
    unreadable: dict[int, str]

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The name of one sample within the source."""

    def fingerprint(self) -> str:
        """16 hex digits that depend on samples and labels."""


@runtime_checkable
class Source(Samples, Protocol):
    """Labelled images that can be read by index: a folder, a zip file, shards, or an array.

    ``labels`` index ``classes``, or are ``None``. Instead of one class per image, a source may have ``targets``, a
    float matrix with one row per image.
    """

    classes: tuple[str, ...]
    labels: Sequence[int] | None

    def read(self, index: int, at_least: Callable[[int, int], tuple[float, float]] | None = None) -> Image.Image:
        """One image as upright RGB; raises ``BrokenImageError`` if it cannot be read.

        Args:
            at_least: Maps the width and height of the image to the smallest sufficient ones; the image may then be
                decoded at a reduced size.
        """

    def subset(self, indices: Sequence[int]) -> "Source":
        """The images at these positions, in this order, with the same classes."""

    def keys(self) -> list[str]:
        """16 hex digits that identify each image wherever the data is stored."""


View = Callable[[Samples, int, np.random.Generator, tuple[int, int]], dict[str, Tensor]]
"""``view(source, index, random, (height, width))``: the inputs made from one sample; images as bytes, channels
first."""
