"""Curves of speed and memory."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from crate_transformer.reports.style import COLOURS, new_figure, styled

LOOKS = [
    {"color": colour, "linestyle": line, "marker": marker}
    for line in ("-", "--")
    for colour, marker in zip(COLOURS, "osD^vP*", strict=True)
]


@styled
def curves_figure(panels: Sequence[Mapping[str, Any]]) -> Figure:
    """Panels with logarithmic axes, on which a power law is a straight line; a name has the same style in all panels.

    Args:
        panels: each with ``title``, ``x_label``, ``x``, ``y_label`` and ``series``, a list of values for each name;
            optionally ``slopes``, a number or ``None`` for each name, to be written into the panel with
            ``slope_from``.

    Raises:
        ValueError: there is no panel, or there are more names than line styles.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel["series"]))
    if not 0 < len(names) <= len(LOOKS):
        raise ValueError(f"the figure of curves shows 1 to {len(LOOKS)} names, not {len(names)}")
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(height=2.8 * rows + 0.5, width=4.2 * columns)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    drawn = {}
    for panel, axes in zip(panels, grid, strict=False):
        for name, values in panel["series"].items():
            (drawn[name],) = axes.loglog(panel["x"], values, label=name, **LOOKS[names.index(name)])
        axes.set(title=panel["title"], xlabel=panel["x_label"], ylabel=panel["y_label"])
        if slopes := {name: value for name, value in panel.get("slopes", {}).items() if value is not None}:
            lines = [drawn[name] for name in slopes]
            title = f"slope from {panel['slope_from']:,}"
            axes.legend(lines, [f"{value:.2f}" for value in slopes.values()], title=title, loc="upper left")
        axes.set_xticks(panel["x"], [f"{x:,}" for x in panel["x"]])
        lowest, highest = axes.get_ylim()
        axes.set_ylim(lowest / 1.3, highest * 1.3)  # wide enough for two of the ticks
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_locator(NullLocator())
    for axes in grid:
        axes.remove()
    figure.legend(handles=list(drawn.values()), loc="outside lower center", ncols=min(2 * columns, len(names)))
    return figure
