"""A linear classifier on frozen features."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from crate_transformer.evaluation.accuracy import Accuracy, count_guesses
from crate_transformer.evaluation.features import FrozenFeatures
from crate_transformer.progress import ProgressLine

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
MAX_ITERATIONS = 500
_SPLIT = 5  # every fifth picture of a class chooses the penalty


@dataclass(frozen=True, kw_only=True)
class PenaltyChoice:
    """The penalty with the best accuracy on the part of the reference pictures that chose it, and all that were tried.

    ``at_the_end`` says that it is the first or last of the list, beyond which a better one may lie; ``converged`` that
    the fit on all reference pictures ended by itself.
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
    r"""Logistic regression on standardised features: the least :math:`\frac1n \sum_i -\log p(y_i \mid x_i) +
    \frac\lambda2 \lVert W \rVert^2`, by L-BFGS (scikit-learn).

    The penalty :math:`\lambda` is chosen on every fifth reference picture of each class after fitting the others; the
    reported numbers come from a fit on all of them. The reported pictures choose nothing.

    Args:
        penalties: to choose from; of equally good ones the largest is taken.

    Raises:
        ValueError: the reference pictures have a single class, or no class with two pictures.
    """
    labels = features.reference_labels.numpy()
    if len(np.unique(labels)) < 2:
        raise ValueError("a linear probe needs at least two classes among the pictures to learn from")
    choosing = every_fifth(labels)
    if not choosing.any() or len(np.unique(labels[~choosing])) < 2:
        raise ValueError("a linear probe needs classes with two pictures or more to learn from: take k-NN instead")
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
            line.update(begun + len(penalties), f"{row}, all pictures")
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
        f"the penalty was chosen on {choosing.sum():,} of the {len(labels):,} pictures to learn from, every fifth of "
        "each class"
    )
    return LinearProbe(rows=rows, choices=choices, split=split)


def every_fifth(labels: Int64[np.ndarray, " images"]) -> Bool[np.ndarray, " images"]:
    """True for every fifth picture of each class; of a class with two to four pictures for the last one."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen[members[_SPLIT - 1 :: _SPLIT] if len(members) >= _SPLIT else members[1:][-1:]] = True
    return chosen


class _Fit:
    """A classifier on features that it standardises by the mean and spread of those to learn from."""

    def __init__(self, x: Float[np.ndarray, "images features"], labels: Int64[np.ndarray, " images"]) -> None:
        mean, spread = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        constant = spread <= 1e-6 * np.abs(mean) + 1e-12
        self.mean, self.spread = mean.astype(x.dtype), np.where(constant, 1.0, spread).astype(x.dtype)
        self.x, self.labels = self._standardised(x), labels
        self.model = None

    def run(self, penalty: float) -> bool:
        """Fit, starting from the weights of the fit before; whether it converged."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        if self.model is None:
            self.model = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True)
        self.model.C = 1 / (penalty * len(self.x))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            self.model.fit(self.x, self.labels)
        return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)

    def ranked(self, x: Float[np.ndarray, "images features"]) -> Int64[np.ndarray, "images classes"]:
        """The known classes of each picture, likeliest first; of equally likely ones the one with the lower number."""
        order = np.argsort(-self.model.predict_proba(self._standardised(x)), axis=1, kind="stable")
        return self.model.classes_[order]

    def _standardised(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.spread
