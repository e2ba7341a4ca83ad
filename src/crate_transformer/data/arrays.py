"""Labelled pictures of one size, held in memory as bytes."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Pictures as bytes, channels first, with labels that index ``classes``."""

    images: UInt8[Tensor, "images 3 height width"]
    labels: Int64[Tensor, " images"]
    classes: tuple[str, ...]
    unreadable: dict[int, str] = field(default_factory=dict, kw_only=True)
    """Always empty."""

    @property
    def where(self) -> str:
        """Where the pictures lie, for messages."""
        return "memory"

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Sequence[int] | slice) -> "ArrayImages":
        """The pictures at these positions, in this order, with everything that belongs to them."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **{name: tensor[indices] for name, tensor in tensors.items()})

    def read(self, index: int, at_least: Callable | None = None) -> Image.Image:
        """One picture as Pillow has it, in its own size."""
        return Image.fromarray(self.images[index].permute(1, 2, 0).numpy())

    def name(self, index: int) -> str:
        """A picture in memory has only its number."""
        return str(index)

    def keys(self) -> list[str]:
        """16 hex digits of each picture's bytes."""
        return [hashlib.sha256(picture.numpy().tobytes()).hexdigest()[:16] for picture in self.images]

    def fingerprint(self) -> str:
        """16 hex digits that change with the labels, the classes, or every eighth row and column of a picture."""
        digest = hashlib.sha256(self.images[..., ::8, ::8].numpy().tobytes())
        digest.update(self.labels.numpy().tobytes() + json.dumps(self.classes).encode())
        return digest.hexdigest()[:16]
