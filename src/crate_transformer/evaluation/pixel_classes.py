"""Semantic segmentation: a class for each pixel, compared with masks."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from crate_transformer.data import VOID
from crate_transformer.inspection import frozen, to_model


@dataclass(frozen=True, kw_only=True)
class PixelScores:
    """Scores on ``count`` images: IoU of every class, summed over all pixels of all images, and its mean.

    The mean is over the classes that occur in the masks; ``per_class`` is ``None`` for the others. Controls:
    ``prior_miou`` gives each position in the image its most frequent class in the training masks, and
    ``majority_miou`` gives every pixel the class that is most frequent in these masks.
    """

    miou: float
    pixel_accuracy: float
    per_class: list[float | None]
    prior_miou: float
    majority_miou: float
    count: int

    def __str__(self) -> str:
        classes = sum(iou is not None for iou in self.per_class)
        return (
            f"mIoU {self.miou:.1%} of {classes} classes on {self.count:,} images (prior of each position "
            f"{self.prior_miou:.1%}, most frequent class {self.majority_miou:.1%}); pixel accuracy "
            f"{self.pixel_accuracy:.1%}"
        )


def pixel_pairs(
    masks: UInt8[Tensor, "batch height width"], guesses: Int64[Tensor, "#batch height width"], num_classes: int
) -> Int64[np.ndarray, "classes classes"]:
    """The number of pixels for each (class in the mask, guess); pixels without a class are not counted.

    Raises:
        ValueError: a mask has a class that the model does not have.
    """
    labels, known = masks.long(), masks != VOID
    if known.any() and int(labels[known].max()) >= num_classes:
        raise ValueError(f"a mask has class {int(labels[known].max())}, but the model has {num_classes} classes")
    pairs = (labels * num_classes + guesses)[known]
    counts = torch.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).cpu().numpy()


def class_counts(
    masks: Iterable[UInt8[Tensor, "_ height width"]], num_classes: int
) -> Int64[Tensor, "classes height width"]:
    """How often each class occurs at each position in the masks."""
    counts = (torch.stack([(some == number).sum(dim=0) for number in range(num_classes)]) for some in masks)
    return functools.reduce(torch.add, counts)


def count_pixels(model: nn.Module, loader: Iterable, prior: Int64[Tensor, "classes height width"]) -> "PixelCounts":
    """Segment every batch of ``(images, masks)`` and count, beside the controls that follow from ``prior``.

    Args:
        prior: from ``class_counts`` of the training masks.

    Raises:
        ValueError: as in ``pixel_pairs``; or a logit is not finite.
    """
    num_classes = prior.shape[0]
    answers = {"position": prior.argmax(dim=0), "majority": prior.sum(dim=(1, 2)).argmax().expand(prior.shape[1:])}
    found = PixelCounts.empty(num_classes)
    for images, masks in loader:
        with frozen(model):
            logits = model(to_model(model, images))
        if not logits.isfinite().all():
            raise ValueError(
                "the outputs of the model are not finite: its weights contain NaN or infinity, or overflow"
            )
        found += PixelCounts(
            model=pixel_pairs(masks, logits.argmax(dim=1).cpu(), num_classes),
            position=pixel_pairs(masks, answers["position"][None], num_classes),
            majority=pixel_pairs(masks, answers["majority"][None], num_classes),
            images=len(images),
        )
    return found


@dataclass(frozen=True, kw_only=True)
class PixelCounts:
    """Pairs (class in the mask, guess) of the model and of both controls; ``a + b`` adds them."""

    model: Int64[np.ndarray, "classes classes"]
    position: Int64[np.ndarray, "classes classes"]
    majority: Int64[np.ndarray, "classes classes"]
    images: int

    @classmethod
    def empty(cls, num_classes: int) -> "PixelCounts":
        """No pixels."""
        none = np.zeros((num_classes, num_classes), np.int64)
        return cls(model=none, position=none, majority=none, images=0)

    def __add__(self, other: "PixelCounts") -> "PixelCounts":
        return PixelCounts(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def scores(self) -> PixelScores:
        """IoU of every class and the means.

        Raises:
            ValueError: no pixel has a class.
        """
        if not self.model.sum():
            raise ValueError("none of the held-out masks has a class: there is nothing to evaluate")
        ious = intersection_over_union(self.model)
        return PixelScores(
            miou=float(np.nanmean(ious)),
            pixel_accuracy=float(self.model.trace() / self.model.sum()),
            per_class=[None if np.isnan(iou) else float(iou) for iou in ious],
            prior_miou=float(np.nanmean(intersection_over_union(self.position))),
            majority_miou=float(np.nanmean(intersection_over_union(self.majority))),
            count=self.images,
        )


def intersection_over_union(pairs: Int64[np.ndarray, "classes classes"]) -> np.ndarray:
    """IoU of every class; not a number for classes that no mask has."""
    there, guessed, both = pairs.sum(axis=1), pairs.sum(axis=0), pairs.diagonal()
    return np.where(there > 0, both / np.maximum(there + guessed - both, 1), np.nan)
