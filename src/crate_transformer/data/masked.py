"""Images with a class for each pixel, for training."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from crate_transformer.data.arrays import ArrayImages
from crate_transformer.data.digits import Digits
from crate_transformer.data.files import file_sizes
from crate_transformer.data.segmentation_samples import SegmentationSample
from crate_transformer.data.source import Source

VOID = 255
"""The value of pixels without a class."""


@runtime_checkable
class Masked(Source, Protocol):
    """Images with masks; ``classes`` names the values 0, 1, ... of a mask, of which 0 is the background, and ``labels``
    is ``None``."""

    def read_masked(self, index: int) -> tuple[Image.Image, Image.Image]:
        """An RGB image and its mask, one byte per pixel: a class, or 255 for none."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskedFiles:
    """Images with masks in files; made by ``open_masked``.

    ``files`` and ``mask_files`` are the files by name, as paths below ``root``. ``ids`` maps the class ids of the
    masks, other than the background's, to positions in ``classes``. ``part_of`` as in ``LabelledFiles``.
    """

    root: Path
    names: list[str]
    files: Mapping[str, str]
    mask_files: Mapping[str, str]
    classes: tuple[str, ...]
    ids: Mapping[int, int]
    load: Callable[[str], SegmentationSample]
    prefix: str = ""
    labels: None = None
    unreadable: dict[int, str] = field(default_factory=dict)
    part_of: int | None = None

    @property
    def where(self) -> str:
        """The folder, for messages."""
        return str(self.root)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The name of one image."""
        return self.names[index]

    def read(self, index: int, at_least: Callable[[int, int], tuple[float, float]] | None = None) -> Image.Image:
        """One image as upright RGB, in its own size."""
        return self.load(self.names[index]).picture

    def subset(self, indices: Sequence[int]) -> "MaskedFiles":
        """The images at these positions, in this order."""
        names = [self.names[index] for index in indices]
        return replace(self, names=names, unreadable={}, part_of=self.part_of or len(self))

    def keys(self) -> list[str]:
        """16 hex digits for each image, from its name and the size of its file in bytes."""
        sizes = file_sizes(self.root, [self.files[name] for name in self.names])
        identities = map("{}\0{}".format, self.names, sizes)
        return [sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:16] for identity in identities]

    def content_key(self, index: int, key: str) -> str:
        """32 hex digits from the image's key and its pixels, which differ for images of the same name and size."""
        return key + sha256(self.load(self.names[index]).picture.tobytes()).hexdigest()[:16]

    def fingerprint(self) -> str:
        """16 hex digits that depend on the images' keys, their order, the sizes of their masks' files, and the
        classes."""
        masks = file_sizes(self.root, dict.fromkeys(self.mask_files[name] for name in self.names))
        return sha256(json.dumps([self.keys(), masks, self.classes]).encode()).hexdigest()[:16]

    def read_masked(self, index: int) -> tuple[Image.Image, Image.Image]:
        """As in ``Masked``.

        Raises:
            BrokenImageError: the image cannot be read.
            ValueError: the mask cannot be read or has another size, a class that is not in ``classes``, or none at all.
        """
        name = self.names[index]
        sample = self.load(name)
        mask = np.zeros((sample.picture.height, sample.picture.width), np.uint8)
        for label, pixels in sample.classes.items():
            if label not in self.ids:
                raise ValueError(
                    f"the mask of {name} in {self.where} has the class {label}, but the classes are "
                    f"{_listed(self.ids)}: correct the mask, or name all classes in classes.json"
                )
            mask[pixels] = self.ids[label]
        if sample.undecided is not None:
            mask[sample.undecided] = VOID
        if (mask == VOID).all():
            raise ValueError(f"the mask of {name} in {self.where} has no class, only {VOID}: remove the image")
        return sample.picture, Image.fromarray(mask)


@dataclass(frozen=True, eq=False)
class MaskedArrays(ArrayImages):
    """Images of one size with masks, in memory."""

    masks: UInt8[Tensor, "images height width"] = field(kw_only=True)

    def read_masked(self, index: int) -> tuple[Image.Image, Image.Image]:
        """As in ``Masked``."""
        return self.read(index), Image.fromarray(self.masks[index].numpy())

    def fingerprint(self) -> str:
        """16 hex digits that depend on images, masks and classes."""
        masks = sha256(self.masks[..., ::4, ::4].numpy().tobytes()).hexdigest()
        return sha256((super().fingerprint() + masks).encode()).hexdigest()[:16]


def masked_digits(images: Digits, *, by_class: bool = True) -> MaskedArrays:
    """Generated digits for segmentation: a pixel belongs to the background or to a digit.

    Args:
        by_class: whether the ten digits are ten classes, or a single one.
    """
    inside = images.labels[:, None, None] + 1 if by_class else 1
    classes = ("background", *(images.classes if by_class else ("digit",)))
    return MaskedArrays(images.images, None, classes, masks=torch.where(images.masks, inside, 0).byte())


def _listed(ids: Mapping[int, int]) -> str:
    known = sorted({0, *ids})
    return f"{known[0]} to {known[-1]}" if len(known) == known[-1] - known[0] + 1 else ", ".join(map(str, known))
