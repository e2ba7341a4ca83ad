"""Labelled pictures of one size, held in memory as bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from torch import Tensor

from crate_transformer.data.transforms import Augment, crop_batch, normalise, preprocess
from crate_transformer.models.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Pictures as bytes, channels first, with labels that index ``classes``."""

    images: UInt8[Tensor, "images 3 height width"]
    labels: Int64[Tensor, " images"]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Sequence[int] | slice) -> "ArrayImages":
        """The pictures at these positions, in this order, with everything that belongs to them."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **{name: tensor[indices] for name, tensor in tensors.items()})

    def read(self, index: int) -> Image.Image:
        """One picture as Pillow has it."""
        return Image.fromarray(self.images[index].permute(1, 2, 0).numpy())

    def batch(
        self,
        indices: Sequence[int],
        preprocessing: Preprocessing,
        augment: Augment | None = None,
        uniforms: Float[Tensor, "batch 5"] | None = None,
    ) -> tuple[Float[Tensor, "batch 3 height width"], Int64[Tensor, " batch"]]:
        """Model inputs and labels of these pictures; augmented only with both ``augment`` and its ``uniforms``."""
        indices = list(indices)
        images, labels = self.images[indices], self.labels[indices]
        size = tuple(images.shape[-2:])
        if augment and augment.crops and uniforms is not None:
            (rows, columns), (height, width) = preprocessing.img_size, size
            inputs = crop_batch(images, augment.boxes(uniforms, columns / rows * height / width), preprocessing)
        elif size == tuple(preprocessing.img_size) and preprocessing.crop_pct == 1:
            inputs = normalise(images, preprocessing)
        else:
            inputs = torch.stack([preprocess(self.read(index), preprocessing) for index in indices])
        return (inputs if augment is None or uniforms is None else augment.mirror(inputs, uniforms)), labels
