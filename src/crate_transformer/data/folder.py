"""Labelled pictures in a folder or a zip file, one sub-folder per class, read one by one."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from unicodedata import normalize

import torch
from PIL import Image

from crate_transformer.data.arrays import ArrayImages
from crate_transformer.data.classes import relabelled
from crate_transformer.data.decode import BrokenImageError
from crate_transformer.data.files import file_sizes
from crate_transformer.data.images import read_content, read_picture
from crate_transformer.data.transforms import pixels, resize_crop
from crate_transformer.data.unreadable import note_unreadable


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Labelled pictures below ``root``, a folder or a zip file; made by ``open_images`` and ``open_split``.

    ``names`` are paths within ``root``, all below the folder ``prefix`` of the classes; ``labels`` index ``classes``.
    ``unreadable`` collects the pictures that could not be read, position -> reason.
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

    def common_size(self) -> tuple[int, int] | None:
        """Height and width if pictures sampled over the whole set agree in it, else ``None``."""
        sizes = set()
        for index in range(0, len(self), max(1, len(self) // 64)):
            try:
                picture = self.read(index)
            except BrokenImageError as error:
                note_unreadable(self, {index: str(error)})
            else:
                sizes.add((picture.height, picture.width))
        return sizes.pop() if len(sizes) == 1 else None

    def to_arrays(
        self,
        size: tuple[int, int] | None = None,
        *,
        threads: int = 2,
        progress: Callable[[int], object] | None = None,
    ) -> ArrayImages:
        """Decode every picture into one tensor of bytes; unreadable ones are left out.

        Args:
            size: Height and width; pictures of another size are resized and cropped. ``None``: the common size.
            threads: How many decode at a time.
            progress: Called after each picture with the number done.

        Raises:
            SizesDiffer: No size is given, and the pictures have several.
            ValueError: Too many are unreadable.
        """
        common = size or self.common_size()
        if common is None:
            raise SizesDiffer(f"the images of {self.root} differ in size: name the size to bring them to")
        images = torch.empty(len(self), 3, *common, dtype=torch.uint8)

        def decode(index: int) -> str | None:
            try:
                picture = self.read(index)
            except BrokenImageError as error:
                return str(error)
            if (found := (picture.height, picture.width)) != common:
                if size is None:
                    raise SizesDiffer(
                        f"{self.root}/{self.names[index]} has {found[0]} x {found[1]} pixels, "
                        f"others {common[0]} x {common[1]}: name the size to bring them to"
                    )
                picture = resize_crop(picture, size)
            images[index] = pixels(picture)
            return None

        kept = []
        pool = ThreadPoolExecutor(threads)
        try:
            for index, reason in enumerate(pool.map(decode, range(len(self)))):
                if reason is None:
                    kept.append(index)
                else:
                    note_unreadable(self, {index: reason})
                if progress:
                    progress(index + 1)
        finally:
            pool.shutdown(cancel_futures=True)
        arrays = ArrayImages(images, torch.tensor(self.labels), self.classes)
        return arrays if len(kept) == len(self) else arrays.subset(kept)


class SizesDiffer(ValueError):  # noqa: N818 -- says what is the case
    """Pictures that should be of one size are of several."""
