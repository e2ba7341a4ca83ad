"""Mixup and CutMix: each image of a batch is mixed with its neighbour, and so is its target."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from crate_transformer.configs import AugmentConfig
from crate_transformer.layers import Stream, uniforms


def mix(
    images: Float[Tensor, "batch channels height width"],
    targets: Float[Tensor, "batch classes"],
    positions: Int64[Tensor, " batch"],
    seed: int,
    config: AugmentConfig,
) -> tuple[Float[Tensor, "batch channels height width"], Float[Tensor, "batch classes"]]:
    r"""Images :math:`w x + (1 - w) x'` and targets :math:`w y + (1 - w) y'`, where :math:`x'` is the other image of the
    pair 2i and 2i + 1, and :math:`w` is a number (mixup, arXiv 1710.09412) or 0 inside a box (CutMix, arXiv
    1905.04899).

    Every image has its own weight or box, which depends on the seed and its position: the two images of a pair get
    different mixtures, and an even part of a batch is mixed as in the whole batch.

    Raises:
        ValueError: The number of images is odd.
    """
    if not config.mixes:
        return images, targets
    if len(images) % 2:
        raise ValueError(f"a batch of {len(images)} images cannot be mixed in pairs: its size must be even")
    numbers = uniforms(seed, positions, 6, Stream.MIX).double()
    mixed = numbers[:, 0] < config.mix_probability
    by_box = numbers[:, 1] < _share_of_cutmix(config)

    weights = symmetric_beta(numbers[:, 2:4], config.mixup) if config.mixup else torch.ones_like(numbers[:, 2])
    weights = torch.where(mixed & ~by_box, weights, 1.0)
    maps = weights.to(images.dtype).view(-1, 1, 1, 1)
    if config.cutmix:
        area = 1 - symmetric_beta(numbers[:, 2:4], config.cutmix)
        inside = _boxes(area, numbers[:, 4:], *images.shape[-2:]) & (mixed & by_box).view(-1, 1, 1)
        weights = torch.where(mixed & by_box, 1 - inside.sum(dim=(1, 2)).double() / inside[0].numel(), weights)
        maps = maps * ~inside.unsqueeze(1)
    weights = weights.to(targets.dtype).view(-1, 1)
    return torch.lerp(_partners(images), images, maps), torch.lerp(_partners(targets), targets, weights)


def symmetric_beta(uniforms: Float64[Tensor, "batch 2"], alpha: float) -> Float64[Tensor, " batch"]:
    """Exact samples from Beta(alpha, alpha), each from two uniform numbers u and v.

    t = (2 alpha (u^(-1 / alpha) - 1))^(1/2) cos 2 pi v follows Student's distribution with 2 alpha degrees of freedom
    (doi 10.1090/S0025-5718-1994-1219702-8), and (1 + t / (2 alpha + t^2)^(1/2)) / 2 follows Beta(alpha, alpha).
    """
    shrunk = (1 - uniforms[:, 0]) ** (1 / alpha)
    cosine = torch.cos(2 * math.pi * uniforms[:, 1])
    return (1 + cosine / torch.sqrt(shrunk / (1 - shrunk) + cosine.square())) / 2


def one_hot(
    labels: Int64[Tensor, " batch"], num_classes: int, label_smoothing: float = 0.0
) -> Float[Tensor, "batch classes"]:
    """One-hot targets with label smoothing: ``label_smoothing`` is divided equally among all classes."""
    hot = F.one_hot(labels, num_classes).float()
    return hot * (1 - label_smoothing) + label_smoothing / num_classes


def _share_of_cutmix(config: AugmentConfig) -> float:
    if config.mixup and config.cutmix:
        return config.cutmix_fraction
    return 1.0 if config.cutmix else 0.0


def _boxes(
    area: Float64[Tensor, " batch"], centres: Float64[Tensor, "batch 2"], height: int, width: int
) -> Bool[Tensor, "batch {height} {width}"]:
    """Whether each pixel is in a box with this fraction of the area and the image's aspect ratio, clipped at the
    borders."""
    inside = []
    for axis, side in enumerate((height, width)):
        extent = (area.sqrt() * side).round()
        start = (centres[:, axis] * side).floor() - (extent / 2).floor()
        pixel = torch.arange(side, device=area.device)
        inside.append((pixel >= start[:, None]) & (pixel < (start + extent)[:, None]))
    return inside[0][:, :, None] & inside[1][:, None, :]


def _partners(tensor: Float[Tensor, "batch *rest"]) -> Float[Tensor, "batch *rest"]:
    """The other element of each pair."""
    return tensor.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
