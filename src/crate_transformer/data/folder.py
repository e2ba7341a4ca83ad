"""Labelled images in a folder or a zip file, one sub-folder per class, read one by one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from unicodedata import normalize

from crate_transformer.data.files import file_sizes
from crate_transformer.data.images import read_content
from crate_transformer.data.labelled import LabelledFiles


@dataclass(frozen=True, eq=False)
class ImageFolder(LabelledFiles):
    """Labelled images below ``root``, a folder or a zip file; made by ``open_images`` and ``open_split``.

    ``names`` are paths within ``root``, all below the folder ``prefix`` that contains the class folders. ``labels``
    index ``classes``; without classes ``labels`` is ``None``.
    """

    root: Path
    names: list[str]
    labels: list[int] | None
    classes: tuple[str, ...]
    prefix: str = ""
    unreadable: dict[int, str] = field(default_factory=dict)
    part_of: int | None = None

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The path of one image within the folder or zip file."""
        return self.names[index]

    def subset(self, indices: Sequence[int]) -> "ImageFolder":
        """The images at these positions, in this order, with the same classes."""
        names, labels = ([of[i] for i in indices] if of is not None else None for of in (self.names, self.labels))
        return self._part(names=names, labels=labels)

    def keys(self) -> list[str]:
        """16 hex digits for each image, from its path (from the class folder on) and its size in bytes.

        They do not change when the data is moved or zipped, or with the Unicode normal form of the names.
        """
        keys = []
        for name, size in zip(self.names, file_sizes(self.root, self.names), strict=True):
            identity = f"{normalize('NFC', name[len(self.prefix) :])}\0{size}"
            keys.append(sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:16])
        return keys

    def content(self, index: int) -> bytes:
        """The bytes of one image file; raises ``BrokenImageError`` if they cannot be read."""
        return read_content(self.root, self.names[index])
