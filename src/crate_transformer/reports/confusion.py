"""The confusion matrix."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from crate_transformer.reports.style import MAP_COLOURS, new_figure, styled

MOST_CLASSES = 100
COLOURS_ON_WHITE = f"{MAP_COLOURS}_r"
_LONGEST = 24  # letters of a name beside the matrix


@styled
def confusion_figure(matrix: Int64[np.ndarray, "labels guesses"], names: Sequence[str]) -> Figure:
    """Fraction of the images of each class (row) predicted as each class (column), on a square-root colour scale; only
    classes that have images or are predicted.

    Raises:
        ValueError: there are more than 100 classes, or no images.
    """
    of_label = matrix.sum(axis=1)
    rows, columns = np.flatnonzero(of_label), np.flatnonzero(of_label + matrix.sum(axis=0))
    if not 0 < len(columns) <= MOST_CLASSES:
        raise ValueError(f"the figure shows 1 to {MOST_CLASSES} classes, not {len(columns)}")
    fractions = matrix[np.ix_(rows, columns)] / of_label[rows, None]
    cell = 0.22 if len(columns) <= 40 else 0.11  # inches
    figure = new_figure(height=3 + cell * len(rows), width=4 + cell * len(columns))
    axes = figure.subplots()
    image = axes.imshow(fractions, norm=PowerNorm(0.5, vmin=0, vmax=1), cmap=COLOURS_ON_WHITE, interpolation="nearest")
    size = 9 if len(columns) <= 40 else 5
    axes.set_xticks(range(len(columns)), [_short(names[int(index)]) for index in columns], rotation=90, fontsize=size)
    axes.set_yticks(range(len(rows)), [_short(names[int(index)]) for index in rows], fontsize=size)
    axes.grid(visible=False)
    axes.set(title="Fraction of the images of each class", xlabel="predicted class", ylabel="class")
    figure.colorbar(image, ax=axes, shrink=0.6)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
