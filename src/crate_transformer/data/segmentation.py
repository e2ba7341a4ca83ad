"""Pictures with the masks of what is on them: COCO, Pascal VOC, or folders of images and masks."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from PIL import Image
from torch import Tensor

from crate_transformer.data.coco import segment_mask
from crate_transformer.data.files import list_files
from crate_transformer.data.images import SUFFIXES, read_image
from crate_transformer.data.transforms import pixels, resize_crop

VOID = 255


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """A picture, for each class on it one mask of its size, and its single objects where these are known.

    ``crowd`` says of each object whether it is a group that nobody counted.
    """

    name: str
    picture: Image.Image
    classes: dict[int, np.ndarray]
    objects: tuple[np.ndarray, ...] = ()
    crowd: tuple[bool, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class SceneSet:
    """Scenes below ``root``, read one at a time when iterated; made by ``open_scenes``.

    ``has_objects`` says whether the data tells single objects apart.
    """

    root: Path
    layout: Literal["coco", "voc", "masks"]
    names: tuple[str, ...]
    class_names: dict[int, str]
    has_objects: bool
    load: Callable[[str], Scene]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Scene]:
        return map(self.load, self.names)

    def first(self, count: int | None) -> "SceneSet":
        """The first ``count`` scenes, all if ``None``."""
        return replace(self, names=self.names[:count])


@dataclass(frozen=True, eq=False, kw_only=True)
class SceneArrays:
    """Scenes cut to one square size: bytes, and one row of ``masks`` for each class on each picture.

    ``image`` and ``label`` tell of each mask to which picture and class it belongs.
    """

    pixels: UInt8[Tensor, "images 3 side side"]
    masks: Bool[Tensor, "masks side side"]
    image: Int[np.ndarray, " masks"]
    label: Int[np.ndarray, " masks"]
    names: tuple[str, ...]


def open_scenes(root: str | Path) -> SceneSet:
    """Find out how a folder is laid out: ``instances.json`` with ``images/`` (COCO), ``JPEGImages`` with
    ``SegmentationClass`` (VOC; ``ImageSets/Segmentation/val.txt`` is followed where it exists), or ``images/`` with
    ``masks/``, of equal names: one channel, a class id per pixel, 0 for the background and 255 for no class.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: it has none of these layouts, or holds no scene.
    """
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist")
    if (root / "instances.json").is_file():
        scenes = _open_coco(root)
    elif (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir():
        scenes = _open_masks(root, "voc", "JPEGImages", "SegmentationClass", "SegmentationObject")
    elif (root / "images").is_dir() and (root / "masks").is_dir():
        scenes = _open_masks(root, "masks", "images", "masks", "objects")
    else:
        raise ValueError(
            f"{root} is no segmentation data: it needs instances.json and images/ (COCO), JPEGImages/ and "
            "SegmentationClass/ (VOC), or images/ and masks/"
        )
    if not len(scenes):
        raise ValueError(f"{root} holds no picture with a mask")
    return scenes


def cut_square(scenes: Iterable[Scene], size: int) -> SceneArrays:
    """Short side resized to ``size`` pixels and cropped at the centre, masks by their nearest pixel.

    Raises:
        ValueError: there are no scenes.
    """
    cut, masks, image, label, names = [], [], [], [], []
    for scene in scenes:
        for number, mask in sorted(scene.classes.items()):
            whole = Image.fromarray(mask.astype(np.uint8))
            masks.append(torch.from_numpy(np.array(resize_crop(whole, (size, size), interpolation="nearest"))) > 0)
            image.append(len(names))
            label.append(number)
        cut.append(pixels(resize_crop(scene.picture, (size, size))))
        names.append(scene.name)
    if not names:
        raise ValueError("there are no scenes to cut: give at least one")
    return SceneArrays(
        pixels=torch.stack(cut),
        masks=torch.stack(masks) if masks else torch.zeros(0, size, size, dtype=torch.bool),
        image=np.array(image, dtype=np.int64),
        label=np.array(label, dtype=np.int64),
        names=tuple(names),
    )


def _open_coco(root: Path) -> SceneSet:
    file = root / "instances.json"
    things: dict[str, dict] = {}
    by_image: defaultdict[int, list[dict]] = defaultdict(list)
    try:
        content = json.loads(file.read_bytes())
        for image in content["images"]:
            things[image["file_name"]] = {key: image[key] for key in ("id", "height", "width")}
        for annotation in content["annotations"]:
            kept = {key: annotation[key] for key in ("category_id", "segmentation")}
            by_image[annotation["image_id"]].append({**kept, "crowd": bool(annotation.get("iscrowd", 0))})
        class_names = {category["id"]: category["name"] for category in content.get("categories", [])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not in the format of COCO instances ({error!r})") from error

    def load(name: str) -> Scene:
        thing = things[name]
        picture = read_image(root / "images" / name)
        size = (thing["height"], thing["width"])
        if (picture.height, picture.width) != size:
            raise ValueError(
                f"{name} has {picture.height} x {picture.width} pixels, but {file} says {size[0]} x {size[1]}"
            )
        classes: dict[int, np.ndarray] = {}
        masks, crowd = [], []
        for annotation in by_image[thing["id"]]:
            try:
                mask = segment_mask(annotation["segmentation"], *size)
            except ValueError as error:
                raise ValueError(f"a mask of {name} in {file} does not fit: {error}") from error
            label = annotation["category_id"]
            classes[label] = classes[label] | mask if label in classes else mask
            masks.append(mask)
            crowd.append(annotation["crowd"])
        return Scene(name=name, picture=picture, classes=classes, objects=tuple(masks), crowd=tuple(crowd))

    return SceneSet(root=root, layout="coco", names=tuple(things), class_names=class_names, has_objects=True, load=load)


def _open_masks(root: Path, layout: Literal["voc", "masks"], pictures: str, masks: str, objects: str) -> SceneSet:
    listed = root / "ImageSets" / "Segmentation" / "val.txt"
    of_pictures = {Path(name).stem: name for name in list_files(root / pictures) if name.lower().endswith(SUFFIXES)}
    of_masks = {Path(name).stem: name for name in list_files(root / masks) if name.lower().endswith(".png")}
    stems = listed.read_text().split() if listed.is_file() else sorted(of_masks)
    for stem in stems:
        if stem not in of_pictures or stem not in of_masks:
            missing = pictures if stem not in of_pictures else masks
            raise ValueError(f"{root / missing} holds nothing called {stem}: every picture needs its mask")
    has_objects = (root / objects).is_dir()

    def read_labels(folder: str, name: str, size: tuple[int, int]) -> np.ndarray:
        file = root / folder / name
        try:
            with Image.open(file, formats=["PNG"]) as image:
                labels = np.array(image)
        except Exception as error:  # Pillow raises nearly every kind of exception on damaged files
            raise ValueError(f"{file} is not a readable PNG ({error})") from error
        if labels.ndim != 2:
            raise ValueError(f"{file} is a colour picture: a mask has one channel with a class id per pixel")
        if labels.shape != size:
            raise ValueError(
                f"{file} has {labels.shape[0]} x {labels.shape[1]} pixels, but its picture {size[0]} x {size[1]}"
            )
        return labels.astype(np.int64)

    def masks_of(labels: np.ndarray) -> dict[int, np.ndarray]:
        return {int(label): labels == label for label in np.unique(labels) if label not in (0, VOID)}

    def load(stem: str) -> Scene:
        picture = read_image(root / pictures / of_pictures[stem])
        size = (picture.height, picture.width)
        classes = masks_of(read_labels(masks, of_masks[stem], size))
        found = tuple(masks_of(read_labels(objects, f"{stem}.png", size)).values()) if has_objects else ()
        return Scene(name=stem, picture=picture, classes=classes, objects=found, crowd=(False,) * len(found))

    return SceneSet(root=root, layout=layout, names=tuple(stems), class_names={}, has_objects=has_objects, load=load)
