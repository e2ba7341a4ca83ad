"""How well classes are found in pictures that may have several of them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import nn

from crate_transformer.evaluation.accuracy import answers


@dataclass(frozen=True, kw_only=True)
class MeanAveragePrecision:
    """The mean over the classes of the average precision of their pictures' ranking; ``classes`` that no picture has
    are left out. ``chance`` is what a random ranking has in the long run: the mean fraction of a class's pictures."""

    mean_average_precision: float
    chance: float
    classes: int
    count: int

    def __str__(self) -> str:
        return (
            f"mean average precision {self.mean_average_precision:.1%} of {self.classes} classes on {self.count:,} "
            f"images (a random order has {self.chance:.1%})"
        )


def logits_and_targets(
    model: nn.Module, loader: Iterable
) -> tuple[Float32[np.ndarray, "images classes"], Float32[np.ndarray, "images classes"]]:
    """Of all batches of (images, targets); a picture's label is its only target."""
    nothing = np.empty((0, model.num_classes), np.float32)
    logits, targets = [nothing], [nothing]
    for ours, theirs in answers(model, loader):
        logits.append(ours.float().cpu().numpy())
        theirs = F.one_hot(theirs, model.num_classes) if theirs.ndim == 1 else theirs
        targets.append(theirs.float().cpu().numpy())
    return np.concatenate(logits), np.concatenate(targets)


def mean_average_precision(
    scores: Float[np.ndarray, "images classes"], targets: Float[np.ndarray, "images classes"]
) -> MeanAveragePrecision:
    """How the pictures of each class are ranked by their scores.

    Raises:
        ValueError: no picture has a class, or a score is not finite.
    """
    from sklearn.metrics import average_precision_score

    there = targets.any(axis=0)
    if not there.any():
        raise ValueError("none of the images to measure on has a class")
    if not np.isfinite(scores).all():
        raise ValueError("the model's answer is not finite: its weights hold NaN or infinity, or overflow")
    found = average_precision_score(targets[:, there], scores[:, there], average="macro")
    return MeanAveragePrecision(
        mean_average_precision=float(found),
        chance=float(targets[:, there].mean()),
        classes=int(there.sum()),
        count=len(targets),
    )
