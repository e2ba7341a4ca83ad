"""What labelled pictures in files have in common, wherever the files lie."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from PIL import Image

from crate_transformer.data.classes import relabelled
from crate_transformer.data.decode import BrokenImageError, read_image


class LabelledFiles:
    """A source for whoever tells ``keys``, ``name`` and ``content``; subclasses are dataclasses with these fields.

    ``labels`` index ``classes``; without classes they are ``None``. ``prefix`` tells which part of ``root`` it is.
    ``unreadable`` collects the pictures that could not be read, position -> reason.
    """

    root: Path | str
    labels: list[int] | None
    classes: tuple[str, ...]
    prefix: str
    unreadable: dict[int, str]

    @property
    def where(self) -> str:
        """The folder or file, for messages."""
        return str(self.root)

    def keys(self) -> list[str]:
        """16 hex digits for each picture, the same wherever the data lies."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        """What one picture is called within ``root``."""
        raise NotImplementedError

    def content(self, index: int) -> bytes:
        """The bytes of one picture's file; the errors are those of ``read``."""
        raise NotImplementedError

    def content_key(self, index: int, key: str) -> str:
        """32 hex digits: the picture's key, and its content, which tells apart pictures of one name and size."""
        return key + sha256(self.content(index)).hexdigest()[:16]

    def fingerprint(self) -> str:
        """16 hex digits that change with the pictures' keys, their order, labels and classes."""
        return sha256(json.dumps([self.keys(), self.labels, self.classes]).encode()).hexdigest()[:16]

    def relabel(self, classes: Sequence[str]) -> "LabelledFiles":
        """The same pictures, labelled after the classes of a checkpoint, however their letters are composed in Unicode.

        Raises:
            ValueError: It lacks some of the classes here.
        """
        labels = relabelled(self.labels, self.classes, classes, self.where)
        return replace(self, labels=labels, classes=tuple(classes), unreadable={})

    def read(self, index: int, at_least: Callable[[int, int], tuple[float, float]] | None = None) -> Image.Image:
        """One picture as upright RGB, reduced as ``read_image`` does.

        Raises:
            BrokenImageError: The picture cannot be read.
        """
        try:
            return read_image(self.content(index), "", at_least=at_least)
        except BrokenImageError as error:
            raise BrokenImageError(f"{self.root}/{self.name(index)}", error.reason) from error
