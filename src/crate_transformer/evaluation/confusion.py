"""Accuracy by class, and confusions between classes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from crate_transformer.evaluation.accuracy import AccuracyCounts, wilson_interval


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """Fraction of the ``count`` images of one class that are classified correctly, with its 95% interval."""

    name: str
    top1: float
    count: int
    top1_interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """``images`` of the ``count`` images of ``label`` are classified as ``guess``."""

    label: str
    guess: str
    images: int
    count: int

    def __str__(self) -> str:
        return f"{self.images} of {self.count} {self.label!r} are classified as {self.guess!r}"


def class_accuracies(counts: AccuracyCounts, names: Sequence[str]) -> tuple[ClassAccuracy, ...]:
    """One entry for each class with images, in the order of the classes."""
    of_label = images_by_label(counts)
    return tuple(
        ClassAccuracy(
            name=names[label],
            top1=counts.pairs[label, label] / count,
            count=count,
            top1_interval=wilson_interval(counts.pairs[label, label], count),
        )
        for label, count in sorted(of_label.items())
    )


def largest_confusions(counts: AccuracyCounts, names: Sequence[str], most: int = 10) -> tuple[Confusion, ...]:
    """The most frequent confusions, by fraction of the images of their class, then by number."""
    of_label = images_by_label(counts)
    wrong = [(pair, images) for pair, images in counts.pairs.items() if pair[0] != pair[1]]
    wrong.sort(key=lambda entry: (-entry[1] / of_label[entry[0][0]], -entry[1], entry[0]))
    return tuple(
        Confusion(label=names[label], guess=names[guess], images=images, count=of_label[label])
        for (label, guess), images in wrong[:most]
    )


def confusion_matrix(counts: AccuracyCounts, num_classes: int) -> Int64[np.ndarray, "labels guesses"]:
    """Number of images for each label (row) and prediction (column)."""
    matrix = np.zeros((num_classes, num_classes), dtype=np.int64)
    for pair, images in counts.pairs.items():
        matrix[pair] = images
    return matrix


def images_by_label(counts: AccuracyCounts) -> Counter[int]:
    """Number of images for each label."""
    found: Counter[int] = Counter()
    for (label, _), images in counts.pairs.items():
        found[label] += images
    return found
