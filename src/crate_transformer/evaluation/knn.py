"""k-nearest-neighbour classification (arXiv 2104.14294)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F

from crate_transformer.evaluation.accuracy import Accuracy, AccuracyCounts, count_guesses
from crate_transformer.evaluation.features import FrozenFeatures
from crate_transformer.progress import ProgressLine

K = (10, 20, 100, 200)
TEMPERATURE = 0.07
_BLOCK = 1 << 25  # similarities in memory at a time


@dataclass(frozen=True, kw_only=True)
class KNN:
    """``rows[row][k]``: accuracy with ``k`` of ``num_reference`` images; rows as in ``FrozenFeatures``."""

    rows: dict[str, dict[int, Accuracy]]
    temperature: float
    num_reference: int


def knn(features: FrozenFeatures, *, k: Sequence[int] = K, temperature: float = TEMPERATURE, show: bool = False) -> KNN:
    r"""Each of the ``k`` most similar reference images votes for its class with weight :math:`\exp(\cos / T)`.

    The search is exact. Of classes with equal votes, the one with the lower number is first; a class without votes is
    never predicted.

    Args:
        k: numbers of neighbours, capped at the number of reference images.
        temperature: ``math.inf`` gives all votes the same weight.

    Raises:
        ValueError: ``k`` or ``temperature`` is not positive.
    """
    if not k or min(k) < 1 or not temperature > 0:
        raise ValueError(f"k is {tuple(k)} and temperature is {temperature}: give positive numbers")
    known, labels = features.reference_labels, features.reported_labels
    ks = sorted({min(number, len(known)) for number in k})
    size = max(1, _BLOCK // len(known))
    rows = {}
    with ProgressLine("k-NN", len(features.reference) * len(labels), show=show) as line:
        for row, reference in features.reference.items():
            counts = dict.fromkeys(ks, AccuracyCounts())
            reference, reported = F.normalize(reference), F.normalize(features.reported[row])
            for start in range(0, len(labels), size):
                part = slice(start, start + size)
                similarity, neighbours = (reported[part] @ reference.T).topk(ks[-1])
                # scaled so that the largest weight is 1: the ranking is unchanged, and nothing overflows
                weights = ((similarity - similarity[:, :1]) / temperature).exp()
                for number in ks:
                    votes = weights.new_zeros(len(weights), features.num_classes)
                    votes.scatter_add_(1, known[neighbours[:, :number]], weights[:, :number])
                    votes, classes = votes.sort(dim=1, descending=True, stable=True)
                    counts[number] += count_guesses(classes.masked_fill(votes == 0, -1), labels[part])
                line.update(len(rows) * len(labels) + min(part.stop, len(labels)))
            rows[row] = {number: counts[number].result() for number in ks}
    return KNN(rows=rows, temperature=temperature, num_reference=len(known))
