"""Mean average precision of multi-label classification."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import nn

from crate_transformer.evaluation.accuracy import answers


@dataclass(frozen=True, kw_only=True)
class MeanAveragePrecision:
    """The mean over classes of the average precision of ranking images by score; classes without images are excluded.
    ``chance`` is the expected value for a random ranking: the mean fraction of images of a class."""

    mean_average_precision: float
    chance: float
    classes: int
    count: int

    def __str__(self) -> str:
        return (
            f"mean average precision {self.mean_average_precision:.1%} of {self.classes} classes on {self.count:,} "
            f"images (chance {self.chance:.1%})"
        )


def logits_and_targets(
    model: nn.Module, loader: Iterable
) -> tuple[Float32[np.ndarray, "images classes"], Float32[np.ndarray, "images classes"]]:
    """Logits and targets of all batches of (images, targets); labels become one-hot targets."""
    count: Any = model.num_classes
    nothing = np.empty((0, count), np.float32)
    logits, targets = [nothing], [nothing]
    for ours, theirs in answers(model, loader):
        logits.append(ours.float().cpu().numpy())
        theirs = F.one_hot(theirs, count) if theirs.ndim == 1 else theirs
        targets.append(theirs.float().cpu().numpy())
    return np.concatenate(logits), np.concatenate(targets)


def mean_average_precision(
    scores: Float[np.ndarray, "images classes"], targets: Float[np.ndarray, "images classes"]
) -> MeanAveragePrecision:
    """Mean average precision of ranking the images by the scores of each class.

    Raises:
        ValueError: no image has a class, or a score is not finite.
    """
    from sklearn.metrics import average_precision_score

    there = targets.any(axis=0)
    if not there.any():
        raise ValueError("none of the images to evaluate on has a class")
    if not np.isfinite(scores).all():
        raise ValueError("the outputs of the model are not finite: its weights contain NaN or infinity, or overflow")
    found = average_precision_score(targets[:, there], scores[:, there], average="macro")
    return MeanAveragePrecision(
        mean_average_precision=float(found),
        chance=float(targets[:, there].mean()),
        classes=int(there.sum()),
        count=len(targets),
    )
