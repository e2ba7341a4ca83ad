"""A measure of a model beside the same measure of its controls."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
import scipy.stats
from jaxtyping import Float, Shaped

Choices = tuple[Mapping[str, Any], ...]
Score = TypeVar("Score")
_EXACT = 1e-9  # a difference that rounding alone can make


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean and its standard error; ``choices`` are the layers, heads and signs, chosen on other images."""

    mean: float
    standard_error: float
    choices: Choices = ()

    def __str__(self) -> str:
        return f"{self.mean:.3f}±{self.standard_error:.3f}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """``rows``: the ``model`` and its controls; ``differences``: the model minus each control, on the same images.

    ``limit`` is the number of standard errors that a difference must exceed.
    """

    rows: dict[str, Estimate]
    differences: dict[str, Estimate]
    limit: float = 2.0

    @property
    def above(self) -> dict[str, bool]:
        """For each control, whether the model is above it by more than ``limit`` paired standard errors."""
        return {
            row: difference.mean > max(self.limit * difference.standard_error, _EXACT)
            for row, difference in self.differences.items()
        }

    @property
    def not_above(self) -> tuple[str, ...]:
        """The controls that the model is not clearly above."""
        return tuple(row for row, above in self.above.items() if not above)

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "rows": self.rows,
            "differences": {
                row: {"mean": difference.mean, "standard_error": difference.standard_error}
                for row, difference in self.differences.items()
            },
            "limit": self.limit,
            "above": self.above,
            "above_every_control": not self.not_above,
        }


def compare(
    per_image: Mapping[str, Float[np.ndarray, " images"]],
    choices: Mapping[str, Choices] | None = None,
    groups: Shaped[np.ndarray, " images"] | None = None,
) -> Comparison:
    """Compare the scores of the row ``model`` with those of the other rows, paired over images.

    Standard errors are the unbiased standard deviation over images, divided by the square root of their number.

    Args:
        groups: the species of each image. Images of one species are not independent: standard errors are then over
            species, and the limit is that of Student's t with the probability of two normal standard errors.
    """
    choices = choices or {}
    ours = per_image["model"]
    member = np.arange(len(ours)) if groups is None else np.unique(groups, return_inverse=True)[1]
    rows = {row: _over_groups(values, member, choices.get(row, ())) for row, values in per_image.items()}
    differences = {row: _over_groups(ours - values, member) for row, values in per_image.items() if row != "model"}
    limit = 2.0 if groups is None else float(scipy.stats.t.isf(scipy.stats.norm.sf(2), member.max()))
    return Comparison(rows=rows, differences=differences, limit=limit)


def compare_draws(values: Mapping[str, float], draws: Mapping[str, Float[np.ndarray, " draws"]]) -> Comparison:
    """Compare measures of the whole set; standard errors are the standard deviation over sets of resampled images."""
    rows = {row: Estimate(mean=value, standard_error=float(draws[row].std(ddof=1))) for row, value in values.items()}
    differences = {
        row: Estimate(mean=values["model"] - value, standard_error=float((draws["model"] - draws[row]).std(ddof=1)))
        for row, value in values.items()
        if row != "model"
    }
    return Comparison(rows=rows, differences=differences)


def keep_highest(rows: dict[str, Score], row: str, score: Score, by: str = "mean") -> None:
    """Add a row; of several scores of one row, which are those of several untrained models, the highest is kept."""
    rows[row] = max(rows.get(row, score), score, key=attrgetter(by))


def _over_groups(values: np.ndarray, member: np.ndarray, choices: Choices = ()) -> Estimate:
    """The mean over images; its error from the sums of the deviations in each group."""
    sums = np.bincount(member, values - values.mean())
    count = len(sums)
    error = float((count / (count - 1) * sums @ sums) ** 0.5 / len(values)) if count > 1 else float("nan")
    return Estimate(mean=float(values.mean()), standard_error=error, choices=choices)
