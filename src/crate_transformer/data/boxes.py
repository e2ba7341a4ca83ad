"""Images with the bounding box of one object each."""

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
    """Images of one size in a folder or zip file, and the left, top, right and bottom edge of each box in pixels.

    Args:
        boxes: a JSON file {image in the container: [left, top, right, bottom]}.
        limit: number of images, spread evenly over the file; default: all.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the JSON does not map images to boxes, an image cannot be read, or the images differ in size.
    """
    container, file = Path(container), Path(boxes)
    if not container.exists():
        raise FileNotFoundError(f"{container} does not exist")
    edges = read_record(file, dict[str, tuple[float, float, float, float]], limit=memory_limit() // 4)
    if not edges:
        raise ValueError(f"{file} contains no boxes")
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
            raise ValueError(f"the images of {container} differ in size: resize them to one size first")
    return torch.stack(shown), np.array([edges[name] for name in names])
