"""Protocols of data sources, and of views of their samples."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from jaxtyping import Int64
from PIL import Image
from torch import Tensor

_Self = TypeVar("_Self", bound="Source")


@runtime_checkable
class Samples(Protocol):
    """Training data: a number of samples, from which a view makes the model's inputs.

    There may be ``labels``, or ``targets``, a float matrix with one row per sample.
    """

    @property
    def where(self) -> str:
        """The folder or file, for messages."""
        ...

    @property
    def unreadable(self) -> dict[int, str]:
        """The samples that could not be read: index -> reason. Only loaders add to it, with ``note_unreadable``."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The name of one sample within the source."""
        ...

    def fingerprint(self) -> str:
        """16 hex digits that depend on samples and labels."""
        ...


@runtime_checkable
class Source(Samples, Protocol):
    """Labelled images that can be read by index: a folder, a zip file, shards, or an array.

    Instead of one class per image, a source may have ``targets``, a float matrix with one row per image.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        ...

    @property
    def labels(self) -> Sequence[int] | Int64[Tensor, " images"] | None:
        """The class of every image, an index of ``classes``."""
        ...

    def read(self, index: int, at_least: Callable[[int, int], tuple[float, float]] | None = None) -> Image.Image:
        """One image as upright RGB; raises ``BrokenImageError`` if it cannot be read.

        Args:
            at_least: Maps the width and height of the image to the smallest sufficient ones; the image may then be
                decoded at a reduced size.
        """
        ...

    def subset(self: _Self, indices: Sequence[int]) -> _Self:
        """The images at these positions, in this order, with the same classes."""
        ...

    def keys(self) -> list[str]:
        """16 hex digits that identify each image wherever the data is stored."""
        ...


@runtime_checkable
class FileSource(Source, Protocol):
    """A source in files, a dataclass: the part ``prefix`` of what is stored at ``root``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def root(self) -> Any:
        """A path, or the name of a data set."""
        ...

    @property
    def prefix(self) -> str:
        """The part."""
        ...

    @property
    def labels(self) -> Sequence[int] | None:
        """The class of every image, an index of ``classes``."""
        ...

    def content_key(self, index: int, key: str) -> str:
        """32 hex digits from the image's key and its content, which differ for images of the same name and size."""
        ...


AnySource = TypeVar("AnySource", bound=Source)
AnyFileSource = TypeVar("AnyFileSource", bound=FileSource)

View = Callable[[Any, int, Any, tuple[int, int]], dict[str, Tensor]]
"""``view(source, index, random, (height, width))``: the inputs made from one sample; images as bytes, channels
first."""
