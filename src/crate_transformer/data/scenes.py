"""Pictures with the masks of what is on them, one at a time or cut to one size."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from PIL import Image
from torch import Tensor

from crate_transformer.data.transforms import pixels, resize_crop


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


@dataclass(frozen=True, eq=False, kw_only=True)
class Foregrounds:
    """Scenes cut to one square size: bytes, and the union of the masks on each picture."""

    pixels: UInt8[Tensor, "images 3 side side"]
    masks: Bool[Tensor, "images side side"]
    names: tuple[str, ...]


def cut_square(scenes: Iterable[Scene], size: int) -> SceneArrays:
    """Short side resized to ``size`` pixels and cropped at the centre, masks by their nearest pixel.

    Raises:
        ValueError: there are no scenes.
    """
    cut, masks, image, label, names = [], [], [], [], []
    for scene in scenes:
        for number, mask in sorted(scene.classes.items()):
            masks.append(_cut_mask(mask, size))
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


def cut_foregrounds(scenes: Iterable[Scene], size: int, *, coverage: tuple[float, float] = (0.03, 0.60)) -> Foregrounds:
    """As ``cut_square``, with the union of all masks of each picture (crowds included).

    Args:
        scenes: such as ``open_scenes`` finds.
        size: side of the squares in pixels.
        coverage: pictures whose union covers a smaller or larger share of the square are left out.

    Raises:
        ValueError: no picture remains.
    """
    cut, masks, names = [], [], []
    for scene in scenes:
        union = np.zeros((scene.picture.height, scene.picture.width), dtype=bool)
        for mask in scene.classes.values():
            union |= mask
        mask = _cut_mask(union, size)
        if coverage[0] <= mask.float().mean() <= coverage[1]:
            cut.append(pixels(resize_crop(scene.picture, (size, size))))
            masks.append(mask)
            names.append(scene.name)
    if not names:
        raise ValueError(f"on no picture the masks cover {coverage[0]:.0%} to {coverage[1]:.0%} of it")
    return Foregrounds(pixels=torch.stack(cut), masks=torch.stack(masks), names=tuple(names))


def _cut_mask(mask: Bool[np.ndarray, "height width"], size: int) -> Bool[Tensor, "side side"]:
    whole = Image.fromarray(mask.astype(np.uint8))
    return torch.from_numpy(np.array(resize_crop(whole, (size, size), interpolation="nearest"))) > 0
