"""Photographs with the masks of the things in them, from a folder in the format of COCO."""

import json
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from crate_transformer.data.images import read_image
from crate_transformer.data.transforms import pixels, resize_crop


@dataclass(frozen=True, eq=False)
class CocoObjects:
    """Pictures as bytes, the union of the masks of all things in each, and the file names."""

    images: UInt8[Tensor, "images 3 side side"]
    masks: Bool[Tensor, "images side side"]
    names: list[str]

    def __len__(self) -> int:
        return len(self.images)


def coco_objects(folder: str | Path, *, size: int, coverage: tuple[float, float] = (0.03, 0.60)) -> CocoObjects:
    """Pictures and union masks (crowds included), short side resized to ``size`` pixels and cropped at the centre.

    Args:
        folder: Holds ``instances.json`` and ``images/``.
        size: Side of the square pictures in pixels.
        coverage: Pictures whose mask covers a smaller or larger share of the square are left out.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: ``instances.json`` is not in COCO's format, an image cannot be read, or none remains.
        ImportError: pycocotools is not installed.
    """
    folder = Path(folder)
    things, segments = _read_instances(folder / "instances.json")
    images, masks, names = [], [], []
    for thing in things:
        union = _union(segments[thing["id"]], thing["height"], thing["width"])
        mask = pixels(resize_crop(union, (size, size), interpolation="nearest").convert("RGB"))[0] > 0
        if coverage[0] <= mask.float().mean() <= coverage[1]:
            picture = read_image(folder / "images" / thing["file_name"])
            images.append(pixels(resize_crop(picture, (size, size))))
            masks.append(mask)
            names.append(thing["file_name"])
    if not images:
        raise ValueError(f"no image of {folder} has things that cover {coverage[0]:.0%} to {coverage[1]:.0%} of it")
    return CocoObjects(torch.stack(images), torch.stack(masks), names)


def _read_instances(file: Path) -> tuple[list[dict], dict[int, list]]:
    """The entries of the images in order, and the segmentations of each by its id."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist")
    segments = defaultdict(list)
    try:
        content = json.loads(file.read_bytes())
        things = [{key: image[key] for key in ("id", "file_name", "height", "width")} for image in content["images"]]
        for annotation in content["annotations"]:
            segments[annotation["image_id"]].append(annotation["segmentation"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not in the format of COCO instances ({error!r})") from error
    return things, segments


def _union(segments: list, height: int, width: int) -> Image.Image:
    try:
        from pycocotools import mask as coco_mask
    except ImportError as error:
        raise ImportError("COCO masks need pycocotools: pip install pycocotools") from error

    union = np.zeros((height, width), dtype=np.uint8)
    for segment in segments:
        plain = isinstance(segment, list) or isinstance(segment["counts"], list)
        runs = coco_mask.frPyObjects(segment, height, width) if plain else segment
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools 2.0 under NumPy 2
            union |= coco_mask.decode(coco_mask.merge(runs) if isinstance(runs, list) else runs)
    return Image.fromarray(union * 255)
