"""Labelled pictures in a folder or a zip file, one sub-folder per class, read one by one."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import chain
from pathlib import Path
from unicodedata import normalize

import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor
from torch.utils.data import get_worker_info

from crate_transformer.data.arrays import ArrayImages
from crate_transformer.data.classes import relabelled
from crate_transformer.data.decode import BrokenImageError
from crate_transformer.data.files import file_sizes
from crate_transformer.data.images import read_content, read_picture
from crate_transformer.data.transforms import (
    REDUCING_GAP,
    Augment,
    crop_picture,
    normalise,
    pixels,
    preprocess,
    resize_crop,
)
from crate_transformer.models.preprocessing import Preprocessing

_LOG = logging.getLogger("crate_transformer.data")


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Labelled pictures below ``root``, a folder or a zip file; made by ``open_images`` and ``open_split``.

    ``names`` are paths within ``root``, all below the folder ``prefix`` of the classes; ``labels`` index ``classes``.
    Pictures that turn out unreadable are skipped and named once in a warning of the logger ``crate_transformer.data``;
    ``broken`` holds them with the reason.
    """

    root: Path
    names: list[str]
    labels: list[int] | None
    classes: tuple[str, ...]
    prefix: str = ""
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return str(self.root)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]

    def subset(self, indices: Sequence[int]) -> "ImageFolder":
        """The pictures at these positions, in this order, with the same classes."""
        names, labels = ([of[i] for i in indices] if of is not None else None for of in (self.names, self.labels))
        return replace(self, names=names, labels=labels, broken={})

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
        return replace(self, labels=labels, classes=tuple(classes), broken={})

    def read(self, index: int, at_least: Callable[[int, int], tuple[float, float]] | None = None) -> Image.Image:
        """One picture as upright RGB, reduced as ``read_image`` does; ``BrokenImageError`` if it cannot be read."""
        return read_picture(self.root, self.names[index], at_least)

    def batch(
        self,
        indices: Sequence[int],
        preprocessing: Preprocessing,
        augment: Augment | None = None,
        uniforms: Float[Tensor, "indices 5"] | None = None,
    ) -> tuple[Float[Tensor, "batch 3 height width"], Int64[Tensor, " batch"]]:
        """Model inputs and labels of these pictures.

        Without ``uniforms`` (evaluation) unreadable pictures are left out. With them (training) the next readable
        picture of the set takes the place of an unreadable one, and ``augment`` draws its crops from them.
        """
        inputs, labels = [], []
        for slot, index in enumerate(indices):
            crop = None if augment is None or uniforms is None or not augment.crops else uniforms[slot : slot + 1]
            for candidate in [index] if uniforms is None else chain(range(index, len(self)), range(index)):
                found = self._input(candidate, preprocessing, augment, crop)
                if found is not None:
                    inputs.append(found)
                    labels.append(self.labels[candidate])
                if found is not None or self._too_many_broken:
                    break
        images = torch.stack(inputs) if inputs else torch.empty(0, 3, *preprocessing.img_size)
        if augment is not None and uniforms is not None and len(inputs) == len(uniforms):
            images = augment.mirror(images, uniforms)
        return images, torch.tensor(labels, dtype=torch.int64)

    def _input(
        self,
        index: int,
        preprocessing: Preprocessing,
        augment: Augment | None,
        crop: Float[Tensor, "1 5"] | None,
    ) -> Float[Tensor, "3 height width"] | None:
        if crop is None:
            picture = self._readable(index)
            return None if picture is None else preprocess(picture, preprocessing)
        rows, columns = preprocessing.img_size

        def box(width: int, height: int) -> Float[Tensor, "4"]:
            return augment.boxes(crop, columns / rows * height / width)[0]

        def at_least(width: int, height: int) -> tuple[float, float]:
            left, top, right, bottom = box(width, height).tolist()
            return REDUCING_GAP * columns / (right - left), REDUCING_GAP * rows / (bottom - top)

        picture = self._readable(index, at_least)
        if picture is None:
            return None
        return normalise(crop_picture(picture, box(*picture.size), preprocessing), preprocessing)

    def _readable(
        self, index: int, at_least: Callable[[int, int], tuple[float, float]] | None = None
    ) -> Image.Image | None:
        if self.names[index] in self.broken:
            return None
        try:
            return self.read(index, at_least)
        except BrokenImageError as error:
            self.report({self.names[index]: str(error)})
            return None

    @property
    def _too_many_broken(self) -> bool:
        return len(self.broken) > max(1, len(self) / 100) or len(self.broken) == len(self)

    def report(self, broken: dict[str, str]) -> None:
        """Note unreadable pictures, name -> reason, each logged once.

        In a loader's worker process they are only noted: the loader reports them again in the main process.

        Raises:
            ValueError: More than 1% of the set (and more than one picture of a small set) are unreadable.
        """
        new = {name: reason for name, reason in broken.items() if name not in self.broken}
        self.broken.update(new)
        if get_worker_info() is not None:
            return
        for reason in new.values():
            _LOG.warning("skipped: %s", reason)
        if new and self._too_many_broken:
            first = ", ".join(sorted(self.broken)[:3])
            raise ValueError(
                f"{len(self.broken)} of the {len(self):,} images of {self.root} are unreadable, more than 1%: "
                f"{first}{', ...' if len(self.broken) > 3 else ''}; remove or repair them"
            )

    def common_size(self) -> tuple[int, int] | None:
        """Height and width if pictures sampled over the whole set agree in it, else ``None``."""
        sizes = set()
        for index in range(0, len(self), max(1, len(self) // 64)):
            picture = self._readable(index)
            if picture is not None:
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
                    self.report({self.names[index]: reason})
                if progress:
                    progress(index + 1)
        finally:
            pool.shutdown(cancel_futures=True)
        arrays = ArrayImages(images, torch.tensor(self.labels), self.classes)
        return arrays if len(kept) == len(self) else arrays.subset(kept)


class SizesDiffer(ValueError):  # noqa: N818 -- says what is the case
    """Pictures that should be of one size are of several."""
