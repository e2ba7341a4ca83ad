"""A linear classifier on frozen features."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from crate_transformer.evaluation.accuracy import Accuracy, count_guesses
from crate_transformer.evaluation.features import FrozenFeatures
from crate_transformer.progress import ProgressLine

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
MAX_ITERATIONS = 500
_SPLIT = 5  # the penalty is chosen on every fifth image of a class


@dataclass(frozen=True, kw_only=True)
class PenaltyChoice:
    """The penalty with the best accuracy on the selection part of the reference images, and all penalties tried.

    ``at_the_end``: it is the first or last of the list, so a better one may exist beyond it. ``converged``: the fit on
    all reference images converged.
    """

    penalty: float
    tried: dict[float, float]
    at_the_end: bool
    converged: bool


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """Accuracy by row, as in ``FrozenFeatures``, and how the penalty of each was chosen."""

    rows: dict[str, Accuracy]
    choices: dict[str, PenaltyChoice]
    split: str


def linear_probe(
    features: FrozenFeatures, *, penalties: Sequence[float] = PENALTIES, show: bool = False
) -> LinearProbe:
    r"""Logistic regression on standardised features: minimises :math:`\frac1n \sum_i -\log p(y_i \mid x_i) +
    \frac\lambda2 \lVert W \rVert^2` with L-BFGS (scikit-learn).

    The penalty :math:`\lambda` is chosen on every fifth reference image of each class after fitting on the others; the
    reported accuracy is from a fit on all reference images. The reported images are not used for any choice.

    Args:
        penalties: candidates; of equally good ones, the largest is chosen.

    Raises:
        ValueError: the reference images have a single class, or no class with two images.
    """
    labels = features.reference_labels.numpy()
    if len(np.unique(labels)) < 2:
        raise ValueError("a linear probe needs at least two classes in the images to fit on")
    choosing = every_fifth(labels)
    if not choosing.any() or len(np.unique(labels[~choosing])) < 2:
        raise ValueError("a linear probe needs a class with at least two images to fit on: use k-NN instead")
    if not penalties or not min(penalties) > 0:
        raise ValueError(f"penalties are {tuple(penalties)}: give positive numbers")
    rows, choices = {}, {}
    with ProgressLine("linear probe", len(features.reference) * (len(penalties) + 1), show=show) as line:
        for row, reference in features.reference.items():
            begun = len(rows) * (len(penalties) + 1)
            x = reference.numpy()
            tried: dict[float, float] = {}
            fit = _Fit(x[~choosing], labels[~choosing])
            for number, penalty in enumerate(sorted(penalties, reverse=True), start=1):
                line.update(begun + number - 1, f"{row}, penalty {penalty:g}")
                fit.run(penalty)
                tried[penalty] = float((fit.ranked(x[choosing])[:, 0] == labels[choosing]).mean())
            best = max(tried, key=tried.__getitem__)
            line.update(begun + len(penalties), f"{row}, all images")
            fit = _Fit(x, labels)
            converged = fit.run(best)
            ranked = torch.from_numpy(fit.ranked(features.reported[row].numpy()))
            rows[row] = count_guesses(ranked, features.reported_labels).result()
            choices[row] = PenaltyChoice(
                penalty=best,
                tried=tried,
                at_the_end=best in (min(penalties), max(penalties)),
                converged=converged,
            )
        line.update(line.total)
    split = (
        f"the penalty was chosen on {choosing.sum():,} of the {len(labels):,} images to fit on, every fifth of each "
        "class"
    )
    return LinearProbe(rows=rows, choices=choices, split=split)


def every_fifth(labels: Int64[np.ndarray, " images"]) -> Bool[np.ndarray, " images"]:
    """True for every fifth image of each class; for a class with two to four images, true for the last one."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen[members[_SPLIT - 1 :: _SPLIT] if len(members) >= _SPLIT else members[1:][-1:]] = True
    return chosen


class _Fit:
    """A classifier on features standardised by the mean and standard deviation of those to fit on."""

    def __init__(self, x: Float[np.ndarray, "images features"], labels: Int64[np.ndarray, " images"]) -> None:
        mean, spread = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        constant = spread <= 1e-6 * np.abs(mean) + 1e-12
        self.mean, self.spread = mean.astype(x.dtype), np.where(constant, 1.0, spread).astype(x.dtype)
        self.x, self.labels = self._standardised(x), labels
        self.model: Any = None

    def run(self, penalty: float) -> bool:
        """Fit, starting from the weights of the previous fit; returns whether it converged."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        if self.model is None:
            self.model = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True)
        # of two classes it fits one row w, the difference of the rows -w/2 and w/2 of W: |W|^2 is |w|^2 / 2
        self.model.C = (2 if len(np.unique(self.labels)) == 2 else 1) / (penalty * len(self.x))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            self.model.fit(self.x, self.labels)
        return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)

    def ranked(self, x: Float[np.ndarray, "images features"]) -> Int64[np.ndarray, "images classes"]:
        """The known classes of each image, most likely first; of equally likely ones, the lower number first."""
        order = np.argsort(-self.model.predict_proba(self._standardised(x)), axis=1, kind="stable")
        return self.model.classes_[order]

    def _standardised(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.spread
