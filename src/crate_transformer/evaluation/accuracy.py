"""Classification accuracy."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from crate_transformer.inspection import frozen, to_model


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Shares of ``count`` images whose label is the first, or among the first five, of the model's guesses."""

    top1: float
    top5: float
    count: int


def accuracy(model: nn.Module, loader: Iterable) -> Accuracy:
    """Classify every batch of ``(images, labels)`` and count; the model's mode is restored afterwards.

    With fewer than five classes ``top5`` looks at all of them.

    Raises:
        ValueError: there are no images, or a label that the model has no class for.
    """
    top1 = top5 = count = 0
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
    if not count:
        raise ValueError("accuracy needs at least one image")
    return Accuracy(top1=top1 / count, top5=top5 / count, count=count)
