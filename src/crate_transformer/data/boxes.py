"""Pictures with the box of one object each."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from crate_transformer.data.images import read_picture
from crate_transformer.data.transforms import pixels
from crate_transformer.storage import read_record
from crate_transformer.storage.limits import memory_limit

_LARGEST = 1e6  # pixels


def boxed_pictures(
    container: str | Path, boxes: str | Path, *, limit: int | None = None
) -> tuple[UInt8[Tensor, "images 3 height width"], Float[np.ndarray, "images 4"]]:
    """Equally large pictures of a folder or zip file, and left, top, right and bottom edge of each one's box in pixels.

    Args:
        boxes: a JSON file, entry of the container -> [left, top, right, bottom], as Tiny-ImageNet's boxes are here.
        limit: spread evenly over the file; all unless given.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the JSON does not map pictures to boxes, a picture cannot be read, or they differ in size.
    """
    container, file = Path(container), Path(boxes)
    if not container.exists():
        raise FileNotFoundError(f"{container} does not exist")
    edges = read_record(file, dict[str, tuple[float, float, float, float]], limit=memory_limit() // 4)
    if not edges:
        raise ValueError(f"{file} maps no picture to a box")
    for name, box in edges.items():
        if not all(abs(edge) <= _LARGEST for edge in box):
            raise ValueError(f"the box of {name} in {file} has an edge beyond {_LARGEST:,.0f} pixels")
    names = list(edges)
    count = min(limit or len(names), len(names))
    names = [names[index * len(names) // count] for index in range(count)]
    shown = []
    for name in names:
        shown.append(pixels(read_picture(container, name)))
        if shown[-1].shape != shown[0].shape:
            raise ValueError(f"the pictures of {container} differ in size: bring them to one first")
    return torch.stack(shown), np.array([edges[name] for name in names])
