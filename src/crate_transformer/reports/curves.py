"""Training curves."""

import re
from collections.abc import Mapping, Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from crate_transformer.reports.style import COLOURS, RATE, legend_below, new_figure, styled

LAYER = re.compile(r"layer_(\d+)_(subspace_rate|nonzero)")
"""Names of the metrics of single layers."""
_WORDS = {
    "loss": "Training loss",
    "waiting_for_data": "Fraction of time waiting for data",
    "top1": "Held-out top-1",
    "subspace_rate": f"{RATE} of every layer's input (nats), held-out images",
    "nonzero": "Fraction of non-zeros after the sparse step of every layer",
}
_SHARES = ("waiting_for_data", "top1", "nonzero")


@styled
def training_figure(runs: Mapping[str, Sequence[Mapping[str, object]]]) -> Figure:
    """Loss against step for several runs, from the records of their ``metrics.jsonl``.

    Records without a loss, such as those of evaluations, are skipped.

    Raises:
        ValueError: a run has no record with a step and a loss, or there are more runs than colours.
    """
    if not 0 < len(runs) <= len(COLOURS):
        raise ValueError(f"the training figure shows 1 to {len(COLOURS)} runs, not {len(runs)}")
    figure = new_figure(height=3.3)
    axes = figure.subplots()
    for (name, records), colour in zip(runs.items(), COLOURS, strict=False):
        points = [(record["step"], record["loss"]) for record in records if "loss" in record]
        if not points:
            raise ValueError(f"the records of {name} contain no loss: there is nothing to draw")
        steps, losses = zip(*points, strict=True)
        axes.plot(steps, losses, color=colour, marker="o", markersize=3, label=name)
    axes.set(title="Training loss", xlabel="step", ylabel="cross-entropy (nats)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    legend_below(figure, axes, columns=min(4, len(runs)))
    return figure


@styled
def run_figure(records: Sequence[Mapping[str, int | float]]) -> Figure:
    """All training metrics of one run, its first metric on held-out data, and the metrics of single layers.

    Args:
        records: the records of ``metrics.jsonl``.

    Raises:
        ValueError: there is no loss.
    """
    training = dict.fromkeys(name for record in records if "loss" in record for name in record)
    if not training:
        raise ValueError("the records contain no loss: there is nothing to draw")
    names = [name for name in training if name not in ("step", "seconds")]
    held_out = dict.fromkeys(name for record in records if "loss" not in record for name in record)
    names[1:1] = [name for name in held_out if name not in ("step", "seconds") and not LAYER.fullmatch(name)][:1]
    layers = {found[2] for record in records for name in record if (found := LAYER.fullmatch(name))}
    names += sorted(layers, reverse=True)
    rows = -(-len(names) // 2)
    figure = new_figure(height=2.5 * rows)
    panels = figure.subplots(rows, 2, squeeze=False).flatten()
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for name, axes in zip(names, panels[: len(names)], strict=True):
        axes.set_title(_WORDS.get(name, name.replace("_", " ").capitalize()))
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        if name in layers:
            _layer_curves(axes, records, name)
        else:
            points = [(record["step"], record[name]) for record in records if name in record]
            marker = "o" if len(points) < 30 else None
            axes.plot(*zip(*points, strict=True), color=COLOURS[0], marker=marker, ms=3, clip_on=False)
        if name in _SHARES:
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
            axes.set_ylim(top=min(1, axes.get_ylim()[1]))
        if name.endswith("_per_second") or name in ("learning_rate", "waiting_for_data"):
            axes.set_ylim(bottom=0)
    return figure


def _layer_curves(axes: Axes, records: Sequence[Mapping[str, int | float]], quantity: str) -> None:
    """One curve per layer, dark for the first and light for the last."""
    curves: dict[int, list[tuple[float, float]]] = {}
    for record in records:
        for name, value in record.items():
            if (found := LAYER.fullmatch(name)) and found[2] == quantity:
                curves.setdefault(int(found[1]), []).append((record["step"], value))
    for layer, points in sorted(curves.items()):
        colour = colormaps["viridis"](0.9 * layer / max(1, max(curves)))
        label = f"layer {layer}" if layer in (0, max(curves)) else None
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3, label=label)
    axes.legend()
