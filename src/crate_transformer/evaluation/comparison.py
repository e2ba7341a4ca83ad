"""A measure of a model beside the same measure of its controls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

Choices = tuple[Mapping[str, Any], ...]
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
    """``rows``: the ``model`` and its controls; ``differences``: the model minus each control, on the same images."""

    rows: dict[str, Estimate]
    differences: dict[str, Estimate]

    @property
    def above(self) -> dict[str, bool]:
        """For each control, whether the model is above it by more than two standard errors of their difference."""
        return {
            row: difference.mean > max(2 * difference.standard_error, _EXACT)
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
            "above": self.above,
            "above_every_control": not self.not_above,
        }


def compare(
    per_image: Mapping[str, Float[np.ndarray, " images"]], choices: Mapping[str, Choices] | None = None
) -> Comparison:
    """Compare the scores of the row ``model`` with those of the other rows, paired over images.

    Standard errors are the unbiased standard deviation over images, divided by the square root of their number.
    """
    choices = choices or {}
    rows = {row: _over_images(values, choices.get(row, ())) for row, values in per_image.items()}
    ours = per_image["model"]
    differences = {row: _over_images(ours - values) for row, values in per_image.items() if row != "model"}
    return Comparison(rows=rows, differences=differences)


def compare_draws(values: Mapping[str, float], draws: Mapping[str, Float[np.ndarray, " draws"]]) -> Comparison:
    """Compare measures of the whole set; standard errors are the standard deviation over sets of resampled images."""
    rows = {row: Estimate(mean=value, standard_error=float(draws[row].std(ddof=1))) for row, value in values.items()}
    differences = {
        row: Estimate(mean=values["model"] - value, standard_error=float((draws["model"] - draws[row]).std(ddof=1)))
        for row, value in values.items()
        if row != "model"
    }
    return Comparison(rows=rows, differences=differences)


def _over_images(values: Float[np.ndarray, " images"], choices: Choices = ()) -> Estimate:
    error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")
    return Estimate(mean=float(values.mean()), standard_error=error, choices=choices)
