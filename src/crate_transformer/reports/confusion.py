"""Which classes are taken for which."""

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
    """Share of each class's images (row) that are given each name (column), on a scale of square roots; classes that
    neither label nor guess names are left out.

    Raises:
        ValueError: there are more than 100 classes, or none has images.
    """
    shown = np.flatnonzero(matrix.sum(axis=1) + matrix.sum(axis=0))
    if not 0 < len(shown) <= MOST_CLASSES:
        raise ValueError(f"the figure shows 1 to {MOST_CLASSES} classes, not {len(shown)}")
    part = matrix[np.ix_(shown, shown)]
    shares = part / np.maximum(part.sum(axis=1, keepdims=True), 1)
    side = min(14.0, 3.0 + 0.22 * len(shown))
    figure = new_figure(height=side, width=side + 1)
    axes = figure.subplots()
    image = axes.imshow(shares, norm=PowerNorm(0.5, vmin=0, vmax=1), cmap=COLOURS_ON_WHITE, interpolation="nearest")
    labels = [_short(names[index]) for index in shown]
    size = 9 if len(shown) <= 40 else 5
    axes.set_xticks(range(len(shown)), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(len(shown)), labels, fontsize=size)
    axes.grid(visible=False)
    axes.set(title="Share of each class's images", xlabel="named by the model", ylabel="class")
    figure.colorbar(image, ax=axes, shrink=0.6)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
