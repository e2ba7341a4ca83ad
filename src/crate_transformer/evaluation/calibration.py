"""Calibration of predicted probabilities (arXiv 1706.04599)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

BINS = 15


@dataclass(frozen=True, kw_only=True)
class CalibrationCounts:
    r"""Images, correct predictions and sum of confidences in each of 15 bins of equal width; ``a + b`` adds them.

    The confidence is the probability of the predicted class; bin :math:`m` covers :math:`((m - 1) / 15, m / 15]`.
    """

    images: tuple[int, ...] = (0,) * BINS
    hits: tuple[int, ...] = (0,) * BINS
    confidence: tuple[float, ...] = (0.0,) * BINS

    def __add__(self, other: "CalibrationCounts") -> "CalibrationCounts":
        return CalibrationCounts(
            images=tuple(map(sum, zip(self.images, other.images, strict=True))),
            hits=tuple(map(sum, zip(self.hits, other.hits, strict=True))),
            confidence=tuple(map(sum, zip(self.confidence, other.confidence, strict=True))),
        )

    @property
    def error(self) -> float:
        r"""Expected calibration error :math:`\sum_m |\text{hits}_m - \text{confidence}_m| / n` (equation 3)."""
        gaps = (abs(hits - confidence) for hits, confidence in zip(self.hits, self.confidence, strict=True))
        return sum(gaps) / max(1, sum(self.images))


def count_calibration(confidence: Float[Tensor, " batch"], correct: Bool[Tensor, " batch"]) -> CalibrationCounts:
    """The counts of one batch."""
    exact, correct = confidence.cpu().double(), correct.cpu()
    bins = ((exact * BINS).ceil().long() - 1).clamp(0, BINS - 1)
    kinds = torch.ones_like(exact), correct.double(), exact
    images, hits, sums = (exact.new_zeros(BINS).index_add(0, bins, kind).tolist() for kind in kinds)
    return CalibrationCounts(images=tuple(map(int, images)), hits=tuple(map(int, hits)), confidence=tuple(sums))
