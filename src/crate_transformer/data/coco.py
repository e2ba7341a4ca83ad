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
from crate_transformer.data.rle import decode_mask
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
    union = np.zeros((height, width), dtype=bool)
    for segment in segments:
        union |= segment_mask(segment, height, width)
    return Image.fromarray(union.astype(np.uint8) * 255)


def segment_mask(segment: list | dict, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """One ``segmentation`` of COCO, polygons or run lengths, as a mask.

    Raises:
        ValueError: the run lengths or polygons do not fit the image.
        ImportError: there are polygons, and pycocotools is not installed.
    """
    if isinstance(segment, dict):
        return decode_mask(segment, height, width)
    try:
        from pycocotools import mask as coco_mask
    except ImportError as error:
        raise ImportError("COCO polygons need pycocotools: pip install 'crate-transformer[coco]'") from error

    try:
        polygons = [[float(number) for number in polygon] for polygon in segment]
    except (TypeError, ValueError) as error:
        raise ValueError(f"a polygon holds something that is no number ({error})") from error
    if not polygons or any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
        raise ValueError("a polygon of COCO needs at least three points, x and y in turn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools 2.0 under NumPy 2
        runs = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        return coco_mask.decode(runs).astype(bool)
