"""Photographs on a GPU: read from the pack of ``prepare_gpu_data.py``, decoded once, augmented a batch at a time."""

import functools
import io
import math
import multiprocessing
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LUMINANCE = (0.299, 0.587, 0.114)
CHUNK = 500  # pictures that a process decodes at a time


@dataclass
class Stream:
    """Pictures (bytes, channels first) and labels in an endless sequence of random orders, one order per epoch."""

    images: Tensor
    labels: Tensor
    order: Tensor | None = None

    def take(self, count: int) -> tuple[Tensor, Tensor]:
        """The next ``count`` pictures and their labels."""
        while self.order is None or len(self.order) < count:
            fresh = torch.randperm(len(self.images), device=self.images.device)
            self.order = fresh if self.order is None else torch.cat([self.order, fresh])
        now, self.order = self.order[:count], self.order[count:]
        return self.images[now], self.labels[now]


@dataclass(frozen=True)
class Photographs:
    """The classes to be learned, photographs of further classes for training only, and held-out ones."""

    train: Stream
    more: Stream
    val: Stream
    classes: tuple[str, ...]
    more_classes: tuple[str, ...]

    def batch(self, count: int, share_more: float, side: int, min_area: float) -> tuple[Tensor, Tensor]:
        """Augmented inputs of ``side`` pixels and labels; the labels of further classes follow those of ``classes``."""
        extra = round(count * share_more)
        parts = [stream.take(n) for stream, n in ((self.train, count - extra), (self.more, extra)) if n]
        crops = torch.cat([random_crops(images, side, min_area) for images, _ in parts])
        return normalised(jittered(crops)), torch.cat([labels for _, labels in parts])


def decode(encoded: list[bytes]) -> np.ndarray:
    """Bytes of equally large pictures to ``(pictures, 3, height, width)``."""
    pictures = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in encoded]
    return np.stack(pictures).transpose(0, 3, 1, 2)


def open_pack(path: Path, device: torch.device, processes: int) -> Photographs:
    """Decode everything into the memory of the device; to be called before CUDA is used, as it forks."""
    with np.load(path, allow_pickle=False) as pack:
        names = ("train", "more", "val")
        arrays = {name: (pack[f"{name}_bytes"].tobytes(), pack[f"{name}_ends"].tolist()) for name in names}
        labels = {name: torch.from_numpy(pack[f"{name}_labels"]) for name in names}
        classes, more_classes = (tuple(map(str, pack[name])) for name in ("classes", "more_classes"))
    images = {}
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for name, (data, ends) in arrays.items():
            encoded = [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
            chunks = [encoded[start : start + CHUNK] for start in range(0, len(encoded), CHUNK)]
            images[name] = torch.from_numpy(np.concatenate(pool.map(decode, chunks)))
    streams = {name: Stream(images[name].to(device), labels[name].to(device)) for name in names}
    return Photographs(**streams, classes=classes, more_classes=more_classes)


def random_crops(images: Tensor, side: int, min_area: float) -> Tensor:
    """Random-resized crops, half of them mirrored, in [0, 1]: an area from ``min_area`` to 1, sides 3:4 to 4:3."""
    area, shape, left, top, mirror = torch.rand(5, len(images), device=images.device)
    area = min_area + (1 - min_area) * area
    ratio = torch.exp((2 * shape - 1) * math.log(4 / 3))
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
    fit = torch.maximum(width, height).clamp(min=1)
    width, height = width / fit, height / fit
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0] = torch.where(mirror < 0.5, -width, width)
    theta[:, 0, 2] = (2 * left - 1) * (1 - width)
    theta[:, 1, 1] = height
    theta[:, 1, 2] = (2 * top - 1) * (1 - height)
    grid = F.affine_grid(theta, [len(images), 3, side, side], align_corners=False)
    crops = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return crops.div_(255)


def jittered(images: Tensor, strength: float = 0.3, grey: float = 0.1) -> Tensor:
    """Brightness, contrast, saturation times 1 - strength to 1 + strength each; a share ``grey`` loses its colour."""
    factors = 1 + strength * (2 * torch.rand(3, len(images), 1, 1, 1, device=images.device) - 1)
    brightness, contrast, saturation = factors
    saturation = torch.where(torch.rand_like(saturation) < grey, 0, saturation)
    weights = per_channel(LUMINANCE, images.device)
    images = images * brightness
    mean = (images * weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    images = mean + contrast * (images - mean)
    luminance = (images * weights).sum(1, keepdim=True)
    return (luminance + saturation * (images - luminance)).clamp_(0, 1)


@functools.cache
def per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """One number per channel, copied to the device only once, as each copy would wait for all that runs there."""
    return torch.tensor(values, device=device).view(3, 1, 1)


def normalised(images: Tensor) -> Tensor:
    """From [0, 1] to ImageNet's statistics."""
    return (images - per_channel(MEAN, images.device)) / per_channel(STD, images.device)


def mixed(images: Tensor, labels: Tensor, generator: random.Random) -> tuple[Tensor, Tensor, float]:
    """Mixup (arXiv 1710.09412) or CutMix (arXiv 1905.04899) of each picture with another one of the batch.

    Returns the inputs, the other pictures' labels, and the share that belongs to the pictures' own labels.
    """
    order = torch.randperm(len(images), device=images.device)
    others = images[order]
    if generator.random() < 0.5:
        share = generator.betavariate(0.8, 0.8)
        return share * images + (1 - share) * others, labels[order], share
    rows, columns = images.shape[-2:]
    side = math.sqrt(generator.random())
    height, width = round(side * rows), round(side * columns)
    top, left = generator.randint(0, rows - height), generator.randint(0, columns - width)
    images = images.clone()
    images[..., top : top + height, left : left + width] = others[..., top : top + height, left : left + width]
    return images, labels[order], 1 - height * width / (rows * columns)


def enlarged(images: Tensor, side: int) -> Tensor:
    """Whole pictures as a model of ``side`` pixels is evaluated on them: bilinear, rounded to bytes, normalised."""
    larger = F.interpolate(images.float(), size=(side, side), mode="bilinear", align_corners=False)
    return normalised(larger.round().div(255))
