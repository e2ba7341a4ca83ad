"""From attention maps to masks: thresholds, and the choice of a head."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crate_transformer.inspection.attention import attention_maps
from crate_transformer.inspection.blank import blank
from crate_transformer.inspection.patches import on_grid, upsample

Rule = Literal["mass", "entries", "otsu"]
_NOISE = 1e-6
"""Largest relative range of values in a map that counts as constant."""


@dataclass(frozen=True, kw_only=True)
class Foreground:
    """A mask for each image, and all choices made for it.

    ``nothing_found`` marks the images whose mask is empty. ``separation`` is the mean of ``map_separation`` over the
    images, for each head of the layer. ``choice`` describes how the head was chosen.
    """

    masks: Bool[np.ndarray, "images rows columns"]
    maps: Float[np.ndarray, "images rows columns"]
    nothing_found: Bool[np.ndarray, " images"]
    layer: int
    head: int
    choice: str
    rule: str
    separation: Float[np.ndarray, " heads"]
    patch_size: tuple[int, int]

    def image_masks(self) -> Bool[np.ndarray, "images height width"]:
        """The masks at the resolution of the model's input images, with each patch as a block."""
        rows, columns = self.masks.shape[1:]
        return upsample(self.masks, (rows * self.patch_size[0], columns * self.patch_size[1]))


def foreground(
    model: nn.Module,
    images: Float[Tensor, "images channels height width"],
    *,
    layer: int = -1,
    head: int | None = None,
    labelled: tuple[Float[Tensor, "_images channels _height _width"], Bool[Tensor, "_images _height _width"]]
    | None = None,
    rule: Rule = "mass",
    fraction: float = 0.6,
) -> Foreground:
    """Foreground masks from the attention of the class token, with one head for all images.

    The head is ``head``; or the one whose masks have the largest mean IoU with the masks of other, ``labelled`` images;
    or, by default, the one whose maps separate best into a bright and a dark part, which needs no labels: the largest
    mean of ``map_separation``. Masks of uniform images, or of maps without contrast, are empty.

    Args:
        model: a model of this package, or a plain ViT of timm or transformers.
        layer: zero-based, negative ones count from the end. The papers show the second to last layer of CRATE, and the
            last of a ViT (arXiv 2308.16271, appendix B).
        labelled: images with masks of the same size for choosing the head; masks that are empty on the grid are
            skipped.
        rule: ``mass`` and ``entries`` keep ``fraction``, see ``threshold_mass`` and ``threshold_entries``; ``otsu``
            does not use ``fraction``, see ``threshold_otsu``.

    Raises:
        ValueError: both ``head`` and ``labelled`` are given, all labelled masks are empty, the rule is unknown, the
            fraction is not in (0, 1], or as in ``attention_maps``.
    """
    if head is not None and labelled is not None:
        raise ValueError("both head and labelled are given: give one of them")
    seen = attention_maps(model, images, layers=[layer])
    maps = seen.maps[:, 0]
    masks = _masks(maps, blank(images), rule, fraction)
    separation = map_separation(maps).mean(axis=0)
    if head is not None:
        if not -maps.shape[1] <= head < maps.shape[1]:
            raise ValueError(
                f"there is no head {head}: the model has heads 0 to {maps.shape[1] - 1} (or -1 for the last)"
            )
        chosen, choice = head % maps.shape[1], "given"
    elif labelled is not None:
        scores = _labelled_iou(model, *labelled, layer, rule, fraction)
        chosen = int(scores.argmax())
        choice = f"largest mean IoU, {scores[chosen]:.3f}, on {len(labelled[0])} labelled images"
    else:
        chosen, choice = int(separation.argmax()), "largest mean fraction of variance between bright and dark part"
    return Foreground(
        masks=masks[:, chosen],
        maps=maps[:, chosen],
        nothing_found=np.asarray(~masks[:, chosen].any(axis=(1, 2))),
        layer=seen.layers[0],
        head=chosen,
        choice=choice,
        rule=rule if rule == "otsu" else f"{rule} {fraction:g}",
        separation=separation,
        patch_size=(images.shape[-2] // maps.shape[-2], images.shape[-1] // maps.shape[-1]),
    )


def _masks(maps: np.ndarray, nothing: np.ndarray, rule: Rule, fraction: float) -> np.ndarray:
    if rule not in ("mass", "entries", "otsu"):
        raise ValueError(f"there is no rule {rule!r}: choose mass, entries or otsu")
    if rule == "otsu":
        masks = threshold_otsu(maps)
    else:
        masks = (threshold_mass if rule == "mass" else threshold_entries)(maps, fraction)
    flat = np.ptp(maps, axis=(-2, -1)) <= _NOISE * maps.max(axis=(-2, -1))
    return masks & ~(flat | nothing[:, None])[..., None, None]


def _labelled_iou(
    model: nn.Module, images: Tensor, truth: Tensor, layer: int, rule: Rule, fraction: float
) -> Float[np.ndarray, " heads"]:
    maps = attention_maps(model, images, layers=[layer]).maps[:, 0]
    masks = _masks(maps, blank(images), rule, fraction)
    if truth.shape != (len(images), *images.shape[-2:]):
        raise ValueError(
            f"labelled masks have shape {tuple(truth.shape)}: give one for each of the {len(images)} images, "
            f"of {images.shape[-2]} x {images.shape[-1]} pixels"
        )
    objects = on_grid(truth.cpu().numpy(), maps.shape[-2:])[:, None]
    usable = objects.any(axis=(1, 2, 3))
    if not usable.any():
        raise ValueError("all labelled masks are empty on the patch grid: no head can be chosen with them")
    union = (masks | objects).sum(axis=(-2, -1))
    return ((masks & objects).sum(axis=(-2, -1))[usable] / union[usable]).mean(axis=0)


def threshold_otsu(maps: Float[np.ndarray, "*lead rows columns"]) -> Bool[np.ndarray, "*lead rows columns"]:
    """Keep the values above Otsu's threshold of each map (Otsu 1979, scikit-image, 256 bins).

    A constant map gives an empty mask.
    """
    from skimage.filters import threshold_otsu as otsu

    flat = maps.reshape(-1, *maps.shape[-2:]).astype(np.float64)
    return np.stack([values > otsu(values) for values in flat]).reshape(maps.shape) if len(flat) else maps > 0


def map_separation(maps: Float[np.ndarray, "*lead rows columns"]) -> Float[np.ndarray, "*lead"]:
    r"""How clearly each map separates into a bright and a dark part, from 0 (constant) to 1 (two values).

    .. math:: \eta = w_0 w_1 (m_1 - m_0)^2 / \sigma^2

    is the fraction of the variance between the two parts of Otsu's threshold (1979), with weights and means
    :math:`w, m`.
    """
    bright, values = threshold_otsu(maps), maps.astype(np.float64)
    fraction = bright.mean(axis=(-2, -1))
    means = [(values * part).sum(axis=(-2, -1)) / np.maximum(part.sum(axis=(-2, -1)), 1) for part in (bright, ~bright)]
    variance = values.var(axis=(-2, -1))
    between = fraction * (1 - fraction) * (means[0] - means[1]) ** 2
    return np.asarray(between / np.where(variance == 0, 1, variance))


def _sorted(
    maps: Float[np.ndarray, "*lead rows columns"], fraction: float
) -> tuple[Float[np.ndarray, "*lead entries"], np.ndarray]:
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}: it must be greater than 0 and at most 1")
    flat = maps.reshape(*maps.shape[:-2], -1)
    order = np.argsort(flat, axis=-1, kind="stable")
    return np.take_along_axis(flat, order, axis=-1), order


def threshold_mass(
    maps: Float[np.ndarray, "*lead rows columns"], fraction: float = 0.6
) -> Bool[np.ndarray, "*lead rows columns"]:
    """Keep the largest entries that together have ``fraction`` of the sum (the attention mass) of each map.

    The rule of DINO's visualisation (arXiv 2104.14294): sort ascending and keep entries where the cumulative sum
    exceeds ``1 - fraction``. Of equal entries, the later one in reading order counts as larger. A zero map gives an
    empty mask.

    Raises:
        ValueError: ``fraction`` is not in (0, 1].
    """
    values, order = _sorted(maps, fraction)
    total = values.sum(axis=-1, keepdims=True)
    running = np.cumsum(values / np.where(total == 0, 1, total), axis=-1)
    keep = np.empty(order.shape, dtype=bool)
    np.put_along_axis(keep, order, running > 1 - fraction, axis=-1)
    return keep.reshape(maps.shape)


def threshold_entries(
    maps: Float[np.ndarray, "*lead rows columns"], fraction: float = 0.6
) -> Bool[np.ndarray, "*lead rows columns"]:
    """Keep the largest ``fraction`` of the entries of each map, rounded to an integer and at least one.

    The rule as stated in arXiv 2308.16271, appendix B. Of equal entries, the later one in reading order counts as
    larger.

    Raises:
        ValueError: ``fraction`` is not in (0, 1].
    """
    _, order = _sorted(maps, fraction)
    count = max(1, round(fraction * order.shape[-1]))
    keep = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(keep, order[..., -count:], True, axis=-1)
    return keep.reshape(maps.shape)
