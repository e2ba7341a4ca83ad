"""Handwritten digits pasted onto photographs, with exact masks, generated in memory from a seed."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from crate_transformer.data.arrays import ArrayImages
from crate_transformer.data.photographs import PHOTOGRAPHS, photograph
from crate_transformer.data.transforms import pixels

_SPLITS = ("train", "selection", "test")
_CHUNK = 2000
_WINDOW = (48, 96)


@dataclass(frozen=True, kw_only=True)
class DigitsConfig:
    """Difficulty of the images, and the trivial cues in them.

    ``scale`` is the range of the digit's height as a fraction of the image height; ``rotation`` is the largest angle in
    radians. ``contrast`` is the difference in mean brightness (white is 1) between a digit and its background;
    ``bright`` is the fraction of digits that are brighter than their background: at 0.5, brightness is no cue.
    ``ground`` and ``texture`` scale the variation of the photographs in the background and in the digit, which is cut
    out of another photograph. ``overhang`` is the fraction of a digit's extent that may lie outside the image.
    """

    scale: tuple[float, float] = (0.6, 0.9)
    rotation: float = 0.1
    contrast: float = 0.7
    bright: float = 0.5
    ground: float = 0.4
    texture: float = 0.3
    overhang: float = 0.05


@dataclass(frozen=True, eq=False)
class Digits(ArrayImages):
    """Images of digits; ``masks`` marks the pixels of the digit."""

    labels: Int64[Tensor, " images"]
    masks: Bool[Tensor, "images height width"]


def digits(
    split: str,
    count: int,
    *,
    seed: int = 0,
    size: int = 32,
    config: DigitsConfig = DigitsConfig(),
) -> Digits:
    """Generate images of ``size`` x ``size`` pixels, each with one digit at a uniformly random position.

    ``split`` is ``"train"``, ``"selection"`` or ``"test"``. The 1,797 digits of scikit-learn are divided into 1,400,
    131 and 266. Backgrounds and textures come from ``PHOTOGRAPHS``: from their left 70% for training, and from the
    upper and lower half of the rest for selection and test. So no handwritten digit and no part of a photograph is in
    two splits. The same seed gives the same samples at every ``size``, and the first samples do not depend on
    ``count``.
    """
    if split not in _SPLITS:
        raise ValueError(f"split is {split!r}: choose one of {', '.join(_SPLITS)}")
    if count < 1 or size < 8:
        raise ValueError(f"count is {count} and size is {size}: they must be at least 1 and 8")
    strokes, labels = _strokes(split)
    random = np.random.default_rng((seed, _SPLITS.index(split))).random((count, 15), dtype=np.float32)
    which = torch.from_numpy((random[:, 0] * len(labels)).astype(np.int64)).clamp(max=len(labels) - 1)
    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    masks = torch.empty(count, size, size, dtype=torch.bool)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        images[part], masks[part] = _compose(strokes[which[part]], torch.from_numpy(random[part]), split, size, config)
    return Digits(images, labels[which], tuple("0123456789"), masks)


def _compose(
    strokes: Float[Tensor, "n 8 8"], random: Float[Tensor, "n 15"], split: str, size: int, config: DigitsConfig
) -> tuple[Tensor, Tensor]:
    alpha = _place(strokes, random[:, 1:5], size, config)
    first = (random[:, 5] * len(PHOTOGRAPHS)).long()
    other = (first + 1 + (random[:, 6] * (len(PHOTOGRAPHS) - 1)).long()) % len(PHOTOGRAPHS)
    ground = _crops(first, random[:, 7:10], split, size)
    texture = _crops(other, random[:, 10:13], split, size)
    middle = 0.5 + 0.3 * (random[:, 13] - 0.5)
    half = torch.where(random[:, 14] < config.bright, config.contrast / 2, -config.contrast / 2)
    ground = config.ground * ground + (middle - half).view(-1, 1, 1, 1)
    texture = config.texture * texture + (middle + half).view(-1, 1, 1, 1)
    images = torch.lerp(ground, texture, alpha).clamp_(0, 1).mul_(255).round_().byte()
    return images, alpha[:, 0] > 0.5


def _place(
    strokes: Float[Tensor, "n 8 8"], random: Float[Tensor, "n 4"], size: int, config: DigitsConfig
) -> Float[Tensor, "n 1 size size"]:
    """Opacity of the digits: upscaled (bicubic), rotated, and moved so that their ink is inside the image."""
    scale = config.scale[0] + (config.scale[1] - config.scale[0]) * random[:, 0]
    angle = config.rotation * (2 * random[:, 1] - 1)
    cos, sin = angle.cos(), angle.sin()
    (top, bottom), (left, right) = _inked(strokes, 2), _inked(strokes, 1)
    middle = torch.stack([left + right, top + bottom], dim=1) / 2
    reach = torch.stack([right - left, bottom - top], dim=1) / 2 * scale[:, None]
    reach = torch.stack(
        [cos.abs() * reach[:, 0] + sin.abs() * reach[:, 1], sin.abs() * reach[:, 0] + cos.abs() * reach[:, 1]], dim=1
    )
    margin = ((1 - 2 * config.overhang) * reach).clamp(max=1)
    centre = (2 * random[:, 2:4] - 1) * (1 - margin)

    turn = torch.stack([torch.stack([cos, sin], dim=1), torch.stack([-sin, cos], dim=1)], dim=1) / scale[:, None, None]
    shift = middle - (turn @ centre[:, :, None])[:, :, 0]
    padded = F.pad(strokes[:, None], (1, 1, 1, 1))
    theta = torch.cat([turn, shift[:, :, None]], dim=2) * (8 / 10)
    grid = F.affine_grid(theta, [len(strokes), 1, size, size], align_corners=False)
    ink = F.grid_sample(padded, grid, mode="bicubic", align_corners=False)
    return (2 * ink - 0.5).clamp(0, 1)


def _inked(strokes: Float[Tensor, "n 8 8"], across: int) -> tuple[Tensor, Tensor]:
    """First and last edge of the ink along one axis, on which the 8 cells span -1 to 1."""
    inked = (strokes.amax(dim=across) > 0.5).float()
    return inked.argmax(dim=1) / 4 - 1, 1 - inked.flip(1).argmax(dim=1) / 4


def _crops(
    which: Int64[Tensor, " n"], random: Float[Tensor, "n 3"], split: str, size: int
) -> Float[Tensor, "n 3 size size"]:
    """Square windows of 48 to 96 pixels of the photographs, minus their mean brightness."""
    crops = torch.empty(len(which), 3, size, size)
    steps = (torch.arange(size) + 0.5) / size
    for index, region in enumerate(_regions(split, max(1, 64 // size))):
        rows = (which == index).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        height, width = region.shape[-2:]
        window = (_WINDOW[0] + (_WINDOW[1] - _WINDOW[0]) * random[rows, 0]) / max(1, 64 // size)
        top, left = random[rows, 1] * (height - window), random[rows, 2] * (width - window)
        y = (top[:, None] + window[:, None] * steps) / height * 2 - 1
        x = (left[:, None] + window[:, None] * steps) / width * 2 - 1
        grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=3).view(1, -1, size, 2)
        found = F.grid_sample(region[None], grid, padding_mode="border", align_corners=False)
        crops[rows] = found.view(3, len(rows), size, size).transpose(0, 1)
    return crops - crops.mean(dim=(1, 2, 3), keepdim=True)


@lru_cache
def _regions(split: str, reduction: int) -> list[Tensor]:
    regions = []
    for name in PHOTOGRAPHS:
        picture = photograph(name)
        border, middle = int(0.7 * picture.width), picture.height // 2
        box = {
            "train": (0, 0, border, picture.height),
            "selection": (border, 0, picture.width, middle),
            "test": (border, middle, picture.width, picture.height),
        }[split]
        regions.append(pixels(picture.crop(box).reduce(reduction)) / 255)
    return regions


@lru_cache
def _strokes(split: str) -> tuple[Float[Tensor, "n 8 8"], Int64[Tensor, " n"]]:
    from sklearn.datasets import load_digits  # slow to import, only needed here

    bunch: Any = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    part = {"train": order[:1400], "selection": order[1400:1531], "test": order[1531:]}[split]
    strokes = torch.from_numpy(bunch.images[part]).float()
    return strokes / strokes.amax(dim=(1, 2), keepdim=True), torch.from_numpy(bunch.target[part].astype(np.int64))
