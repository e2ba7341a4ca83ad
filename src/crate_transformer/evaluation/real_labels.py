"""ReaL labels of ImageNet's validation images, with all classes in an image (arXiv 2006.07159)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crate_transformer.evaluation.accuracy import wilson_interval
from crate_transformer.storage import as_record, read_json

_NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})(?!\d)")
_AGREE = 0.5  # fraction of images that must agree: with another order of the classes hardly any do


@dataclass(frozen=True, kw_only=True)
class RealAccuracy:
    """Fraction of ``count`` images whose prediction is among their ReaL labels; ``left_out`` images have none."""

    top1: float
    count: int
    left_out: int
    top1_interval: tuple[float, float]


def read_real_labels(path: str | Path) -> list[list[int]]:
    """The authors' ``real.json``: the list of classes of each validation image, in the order of their numbers.

    Raises:
        ValueError: the file has another content.
    """
    found = as_record(read_json(path), list[list[int]], str(path))
    if not found or any(label < 0 for labels in found for label in labels):
        raise ValueError(f"{path} does not contain a list of classes for each image")
    return found


def real_labels_of(names: Sequence[str], real: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """The ReaL labels of files by the number in their names, starting with ``ILSVRC2012_val_00000001.JPEG``.

    Raises:
        ValueError: a name has no such number, or there is no entry for it.
    """
    found = []
    for name in names:
        number = _NUMBERED.search(name.rpartition("/")[2])
        if not number or not 1 <= int(number[1]) <= len(real):
            raise ValueError(
                f"there are no ReaL labels for {name}: they are for files named ILSVRC2012_val_00000001 to "
                f"ILSVRC2012_val_{len(real):08d}"
            )
        found.append(real[int(number[1]) - 1])
    return found


def real_accuracy(
    guesses: Sequence[int], labels: Sequence[int], real: Sequence[Sequence[int]], num_classes: int
) -> RealAccuracy:
    """The fraction of predictions that are among the ReaL labels, over the images that have any.

    Args:
        labels: the original labels of the images, used to check that the classes have the same order.

    Raises:
        ValueError: the classes have another order than ImageNet's, or no image has ReaL labels.
    """
    known = [(guess, label, classes) for guess, label, classes in zip(guesses, labels, real, strict=True) if classes]
    if not known:
        raise ValueError("none of the images has a ReaL label")
    agree = sum(label in classes for _, label, classes in known)
    if agree < _AGREE * len(known) or max(max(classes) for *_, classes in known) >= num_classes:
        raise ValueError(
            f"only {agree} of {len(known)} images have their own class among their ReaL labels: the model's "
            f"{num_classes} classes are not those of ImageNet-1k in the usual order, or the labels belong to other "
            "images"
        )
    hits = sum(guess in classes for guess, _, classes in known)
    return RealAccuracy(
        top1=hits / len(known),
        count=len(known),
        left_out=len(labels) - len(known),
        top1_interval=wilson_interval(hits, len(known)),
    )
