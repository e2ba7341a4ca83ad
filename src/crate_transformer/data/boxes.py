"""Pictures with the box of one object each."""

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from crate_transformer.data.files import read_bytes
from crate_transformer.data.images import read_image
from crate_transformer.data.transforms import pixels


def boxed_pictures(
    container: str | Path, boxes: str | Path, *, limit: int | None = None
) -> tuple[UInt8[Tensor, "images 3 height width"], Float[np.ndarray, "images 4"]]:
    """Equally large pictures of a folder or zip file, and left, top, right and bottom edge of each one's box in pixels.

    Args:
        boxes: a JSON file, entry of the container -> [left, top, right, bottom], as Tiny-ImageNet's boxes are here.
        limit: spread evenly over the file; all unless given.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the JSON is not such a list, or the pictures differ in size.
    """
    container, file = Path(container), Path(boxes)
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist")
    try:
        edges = {str(name): [float(edge) for edge in box] for name, box in json.loads(file.read_bytes()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} does not map pictures to boxes ({error!r})") from error
    names = list(edges)
    if not names or any(len(box) != 4 for box in edges.values()):
        raise ValueError(f"{file} does not map pictures to boxes of four edges each")
    count = min(limit or len(names), len(names))
    names = [names[index * len(names) // count] for index in range(count)]
    shown = []
    for name in names:
        try:
            shown.append(pixels(read_image(read_bytes(container, name), name=f"{container}/{name}")))
        except KeyError as error:
            raise ValueError(f"{container} holds no {name}, for which {file} has a box") from error
    sizes = {tuple(picture.shape[-2:]) for picture in shown}
    if len(sizes) > 1:
        raise ValueError(f"the pictures of {container} differ in size: bring them to one first")
    return torch.stack(shown), np.array([edges[name] for name in names])
