"""Labelled images of one size, in memory as bytes."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

from jaxtyping import Float32, Int64, UInt8
from PIL import Image
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images as bytes, channels first, with ``labels`` that index ``classes``, with ``targets``, or with neither."""

    images: UInt8[Tensor, "images 3 height width"]
    labels: Int64[Tensor, " images"] | None
    classes: tuple[str, ...]
    targets: Float32[Tensor, "images classes"] | None = field(default=None, kw_only=True)
    """For images with several classes: 1 for each class of an image, else 0."""
    unreadable: dict[int, str] = field(default_factory=dict, kw_only=True)
    """Always empty."""

    @property
    def where(self) -> str:
        """The location of the images, for messages."""
        return "memory"

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Sequence[int] | slice) -> "ArrayImages":
        """The images at these positions, in this order, with their labels and other fields."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **{name: tensor[indices] for name, tensor in tensors.items()})

    def read(self, index: int, at_least: Callable | None = None) -> Image.Image:
        """One image as a Pillow image, in its own size."""
        return Image.fromarray(self.images[index].permute(1, 2, 0).numpy())

    def name(self, index: int) -> str:
        """The number of the image."""
        return str(index)

    def keys(self) -> list[str]:
        """16 hex digits from the bytes of each image."""
        return [hashlib.sha256(picture.numpy().tobytes()).hexdigest()[:16] for picture in self.images]

    def fingerprint(self) -> str:
        """16 hex digits that depend on labels, targets, classes, and every eighth row and column of each image."""
        digest = hashlib.sha256(self.images[..., ::8, ::8].numpy().tobytes())
        for told in (self.labels, self.targets):
            digest.update(b"" if told is None else told.numpy().tobytes())
        digest.update(json.dumps(self.classes).encode())
        return digest.hexdigest()[:16]
