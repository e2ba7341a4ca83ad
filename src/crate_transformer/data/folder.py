"""Labelled pictures in a folder or a zip file, one sub-folder per class, read one by one."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from unicodedata import normalize

from PIL import Image

from crate_transformer.data.classes import relabelled
from crate_transformer.data.files import file_sizes
from crate_transformer.data.images import read_content, read_picture


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Labelled pictures below ``root``, a folder or a zip file; made by ``open_images`` and ``open_split``.

    ``names`` are paths within ``root``, all below the folder ``prefix`` of the classes; ``labels`` index ``classes``.
    ``unreadable`` collects the pictures that could not be read, position -> reason. Without classes ``labels`` is
    ``None``.
    """

    root: Path
    names: list[str]
    labels: list[int] | None
    classes: tuple[str, ...]
    prefix: str = ""
    unreadable: dict[int, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The folder or zip file, for messages."""
        return str(self.root)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The path of one picture within the folder or zip file."""
        return self.names[index]

    def fingerprint(self) -> str:
        """16 hex digits that change with keys, labels and classes."""
        return sha256(json.dumps([self.keys(), self.labels, self.classes]).encode()).hexdigest()[:16]

    def subset(self, indices: Sequence[int]) -> "ImageFolder":
        """The pictures at these positions, in this order, with the same classes."""
        names, labels = ([of[i] for i in indices] if of is not None else None for of in (self.names, self.labels))
        return replace(self, names=names, labels=labels, unreadable={})

    def keys(self) -> list[str]:
        """16 hex digits for each picture: of its path from the class folder on and its size in bytes.

        They are the same wherever the data lies, in a folder or a zip file, however its names are normalised.
        """
        keys = []
        for name, size in zip(self.names, file_sizes(self.root, self.names), strict=True):
            identity = f"{normalize('NFC', name[len(self.prefix) :])}\0{size}"
            keys.append(sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:16])
        return keys

    def content_key(self, index: int, key: str) -> str:
        """32 hex digits: the picture's key, and its content, which tells apart pictures of one name and size."""
        return key + sha256(self.content(index)).hexdigest()[:16]

    def content(self, index: int) -> bytes:
        return read_content(self.root, self.names[index])

    def relabel(self, classes: Sequence[str]) -> "ImageFolder":
        """The same pictures, labelled after the classes of a checkpoint, however their letters are composed in Unicode.

        Raises:
            ValueError: It lacks some of the classes here.
        """
        labels = relabelled(self.labels, self.classes, classes, str(self.root))
        return replace(self, labels=labels, classes=tuple(classes), unreadable={})

    def read(self, index: int, at_least: Callable[[int, int], tuple[float, float]] | None = None) -> Image.Image:
        """One picture as upright RGB, reduced as ``read_image`` does; ``BrokenImageError`` if it cannot be read."""
        return read_picture(self.root, self.names[index], at_least)
