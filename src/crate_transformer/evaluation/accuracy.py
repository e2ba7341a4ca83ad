"""Classification accuracy."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from statistics import NormalDist

from jaxtyping import Float, Int64
from torch import Tensor, distributed, nn

from crate_transformer.evaluation.calibration import CalibrationCounts, count_calibration
from crate_transformer.inspection import frozen, to_model
from crate_transformer.inspection.normalisation import at_least_float32


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Top-1 and top-5 accuracy on ``count`` images.

    ``top1_interval`` is the 95% confidence interval (``wilson_interval``), and ``chance`` the accuracy of always
    predicting the most frequent label.
    """

    top1: float
    top5: float
    count: int
    top1_interval: tuple[float, float]
    chance: float

    def __str__(self) -> str:
        low, high = self.top1_interval
        known = "; too few images to distinguish it from this baseline" if low <= self.chance <= high else ""
        return (
            f"top-1 {self.top1:.1%} of {self.count:,} images (95% interval {low:.1%} to {high:.1%}; "
            f"majority-class baseline {self.chance:.1%}{known})"
        )


@dataclass(frozen=True, kw_only=True)
class AccuracyCounts:
    """Counts on a set of images; ``a + b`` adds them, so that batches and processes can share the work.

    ``pairs`` is the number of images for each (label, prediction), and ``top5`` the number of images whose label is
    among the five most likely classes.
    """

    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)
    top5: int = 0
    calibration: CalibrationCounts = field(default_factory=CalibrationCounts)

    def __add__(self, other: "AccuracyCounts") -> "AccuracyCounts":
        return AccuracyCounts(
            pairs=self.pairs + other.pairs,
            top5=self.top5 + other.top5,
            calibration=self.calibration + other.calibration,
        )

    def result(self) -> Accuracy:
        """The fractions.

        Raises:
            ValueError: there are no images.
        """
        count = self.pairs.total()
        if not count:
            raise ValueError("accuracy needs at least one image")
        top1 = sum(images for (label, guess), images in self.pairs.items() if label == guess)
        labels: Counter[int] = Counter()
        for (label, _), images in self.pairs.items():
            labels[label] += images
        return Accuracy(
            top1=top1 / count,
            top5=self.top5 / count,
            count=count,
            top1_interval=wilson_interval(top1, count),
            chance=max(labels.values()) / count,
        )


def accuracy(model: nn.Module, loader: Iterable) -> Accuracy:
    """Classify every batch of ``(images, labels)`` and count; the model's mode is restored afterwards.

    With fewer than five classes ``top5`` is always 1.

    Raises:
        ValueError: there are no images; or as in ``count_answers``.
    """
    return accuracy_counts(model, loader).result()


def accuracy_counts(model: nn.Module, loader: Iterable) -> AccuracyCounts:
    """The counts of ``accuracy``; empty if ``loader`` yields no images.

    Raises:
        ValueError: as in ``count_answers``.
    """
    found = (count_answers(logits, labels) for logits, labels in answers(model, loader))
    return sum(found, start=AccuracyCounts())


def over_processes(counts: AccuracyCounts) -> AccuracyCounts:
    """The sum of the counts over all processes of ``torch.distributed``; unchanged in a single process."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return counts
    gathered: list[AccuracyCounts] = [AccuracyCounts()] * distributed.get_world_size()
    distributed.all_gather_object(gathered, counts)
    return sum(gathered, start=AccuracyCounts())


def answers(model: nn.Module, loader: Iterable) -> Iterator[tuple[Float[Tensor, "batch classes"], Tensor]]:
    """Logits, in float32 or better, and labels (or targets) of every batch; the model's mode is restored afterwards."""
    for images, labels in loader:
        with frozen(model):
            logits = at_least_float32(model(to_model(model, images)))
        yield logits, labels.to(logits.device)


def count_answers(logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]) -> AccuracyCounts:
    """The counts of one batch.

    Raises:
        ValueError: a label has no class in the model, or a logit is not finite.
    """
    if not len(labels):
        return AccuracyCounts()
    classes = logits.shape[-1]
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"the data has label {int(labels.max())}, but the model has {classes} classes")
    if not logits.isfinite().all():
        raise ValueError("the outputs of the model are not finite: its weights contain NaN or infinity, or overflow")
    guesses = logits.topk(min(5, classes)).indices
    confidence = logits.softmax(dim=-1).amax(dim=-1)
    calibration = count_calibration(confidence, guesses[:, 0] == labels)
    return replace(count_guesses(guesses, labels), calibration=calibration)


def count_guesses(guesses: Int64[Tensor, "batch ranked"], labels: Int64[Tensor, " batch"]) -> AccuracyCounts:
    """The counts, without calibration, of one batch of ranked classes, the most likely first."""
    pairs = Counter(zip(labels.tolist(), guesses[:, 0].tolist(), strict=True))
    return AccuracyCounts(pairs=pairs, top5=int((guesses[:, :5] == labels[:, None]).sum()))


def wilson_interval(hits: int, count: int, z: float = NormalDist().inv_cdf(0.975)) -> tuple[float, float]:
    r"""Wilson's score interval for the true fraction if ``hits`` of ``count`` were observed (JASA 22, 1927).

    With :math:`p = \text{hits} / n`, it is
    :math:`\bigl(p + z^2 / 2n \pm z \sqrt{p (1 - p) / n + z^2 / 4 n^2}\bigr) / (1 + z^2 / n)`.

    Args:
        z: half-width in standard deviations; default: 95%.
    """
    fraction, spread = hits / count, z * z / count
    middle, half = fraction + spread / 2, z * math.sqrt(fraction * (1 - fraction) / count + spread / (4 * count))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))
