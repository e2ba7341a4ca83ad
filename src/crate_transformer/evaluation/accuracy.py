"""Classification accuracy."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

from torch import nn

from crate_transformer.inspection import frozen, to_model


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Shares of ``count`` images whose label is the first, or among the first five, of the model's guesses.

    ``top1_interval`` is the 95% interval of the share on all images of this kind (``wilson_interval``), and ``chance``
    what always naming the commonest of these labels would reach.
    """

    top1: float
    top5: float
    count: int
    top1_interval: tuple[float, float]
    chance: float

    def __str__(self) -> str:
        low, high = self.top1_interval
        known = "; too few images to tell it from guessing" if low <= self.chance <= high else ""
        return (
            f"top-1 {self.top1:.1%} of {self.count:,} images (95% interval {low:.1%} to {high:.1%}; "
            f"guessing gives {self.chance:.1%}{known})"
        )


def accuracy(model: nn.Module, loader: Iterable) -> Accuracy:
    """Classify every batch of ``(images, labels)`` and count; the model's mode is restored afterwards.

    With fewer than five classes ``top5`` looks at all of them.

    Raises:
        ValueError: there are no images, or a label that the model has no class for.
    """
    top1 = top5 = count = 0
    labels_seen: Counter[int] = Counter()
    with frozen(model):
        for images, labels in loader:
            logits = model(to_model(model, images))
            labels = labels.to(logits.device)
            classes = logits.shape[-1]
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
                raise ValueError(f"the data has label {int(labels.max())}, but the model has {classes} classes")
            hits = logits.topk(min(5, classes)).indices == labels[:, None]
            top1 += int(hits[:, 0].sum())
            top5 += int(hits.sum())
            count += len(labels)
            labels_seen.update(labels.tolist())
    if not count:
        raise ValueError("accuracy needs at least one image")
    return Accuracy(
        top1=top1 / count,
        top5=top5 / count,
        count=count,
        top1_interval=wilson_interval(top1, count),
        chance=max(labels_seen.values()) / count,
    )


def wilson_interval(hits: int, count: int, z: float = NormalDist().inv_cdf(0.975)) -> tuple[float, float]:
    r"""Where the true share lies when ``hits`` of ``count`` were seen, by Wilson's score interval (JASA 22, 1927).

    With :math:`p = \text{hits} / n`, it is
    :math:`\bigl(p + z^2 / 2n \pm z \sqrt{p (1 - p) / n + z^2 / 4 n^2}\bigr) / (1 + z^2 / n)`.

    Args:
        z: half-width in standard deviations; that of 95% unless given.
    """
    share, spread = hits / count, z * z / count
    middle, half = share + spread / 2, z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))
