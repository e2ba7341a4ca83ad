"""Labelled pictures of one size, held in memory as bytes."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

from jaxtyping import Float32, Int64, UInt8
from PIL import Image
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Pictures as bytes, channels first, with labels that index ``classes``, with ``targets``, or with neither."""

    images: UInt8[Tensor, "images 3 height width"]
    labels: Int64[Tensor, " images"] | None
    classes: tuple[str, ...]
    targets: Float32[Tensor, "images classes"] | None = field(default=None, kw_only=True)
    """1 where a picture has a class, else 0, of pictures that may have several."""
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
        """16 hex digits that change with labels, targets, classes, or every eighth row and column of a picture."""
        digest = hashlib.sha256(self.images[..., ::8, ::8].numpy().tobytes())
        for told in (self.labels, self.targets):
            digest.update(b"" if told is None else told.numpy().tobytes())
        digest.update(json.dumps(self.classes).encode())
        return digest.hexdigest()[:16]
