"""The common part of all sources of labelled images in files."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, ClassVar, TypeVar

from PIL import Image

from crate_transformer.data.classes import relabelled
from crate_transformer.data.decode import BrokenImageError, read_image

_Self = TypeVar("_Self", bound="LabelledFiles")


class LabelledFiles:
    """A source defined by ``keys``, ``name`` and ``content``; subclasses are dataclasses with these fields.

    ``root`` is a path, or the name of a data set, and ``prefix`` the part of it. ``labels`` index ``classes``; without
    classes they are ``None``. ``unreadable`` collects the images that could not be read: index -> reason. ``part_of``
    is the number of images of the data set that this is a part of, or ``None`` for the whole.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    root: Any
    labels: Any
    classes: tuple[str, ...]
    prefix: str
    unreadable: dict[int, str]
    part_of: int | None

    @property
    def where(self) -> str:
        """The folder or file, for messages."""
        return str(self.root)

    def __len__(self) -> int:
        raise NotImplementedError

    def subset(self, indices: Sequence[int]) -> "LabelledFiles":
        """The pictures at these positions, in this order, with the same classes."""
        raise NotImplementedError

    def _part(self: _Self, **columns: Any) -> _Self:
        """A part of this data set, with these columns."""
        return replace(self, **columns, unreadable={}, part_of=self.part_of or len(self))

    def keys(self) -> list[str]:
        """16 hex digits for each image, the same wherever the data is stored."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        """The name of one image within ``root``."""
        raise NotImplementedError

    def content(self, index: int) -> bytes:
        """The bytes of one image file; raises the same errors as ``read``."""
        raise NotImplementedError

    def content_key(self, index: int, key: str) -> str:
        """32 hex digits from the image's key and its content, which differ for images of the same name and size."""
        return key + sha256(self.content(index)).hexdigest()[:16]

    def fingerprint(self) -> str:
        """16 hex digits that depend on the images' keys, their order, labels and classes."""
        return sha256(json.dumps([self.keys(), self.labels, self.classes]).encode()).hexdigest()[:16]

    def relabel(self, classes: Sequence[str]) -> "LabelledFiles":
        """The same images with labels that index the classes of a checkpoint, in any Unicode normal form.

        Raises:
            ValueError: The checkpoint lacks some of the classes.
        """
        labels = relabelled(self.labels, self.classes, classes, self.where)
        changes: dict[str, Any] = {"labels": labels, "classes": tuple(classes), "unreadable": {}}
        return replace(self, **changes)

    def read(self, index: int, at_least: Callable[[int, int], tuple[float, float]] | None = None) -> Image.Image:
        """One image as upright RGB; ``at_least`` as in ``read_image``.

        Raises:
            BrokenImageError: The image cannot be read.
        """
        try:
            return read_image(self.content(index), "", at_least=at_least)
        except BrokenImageError as error:
            raise BrokenImageError(f"{self.root}/{self.name(index)}", error.reason) from error
