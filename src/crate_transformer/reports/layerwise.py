"""What each layer does to the objective, as curves."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from crate_transformer.inspection import LayerwiseObjective
from crate_transformer.reports.style import COLOURS, legend_below, new_figure, styled


@styled
def layerwise_figure(objectives: Mapping[str, LayerwiseObjective]) -> Figure:
    """R^c and the share of non-zeros against depth for several models, each beside its untrained twin.

    One colour per model, in the order given: solid with a band of one standard deviation over images after training,
    dashed before it. At most seven models.
    """
    if not 0 < len(objectives) <= len(COLOURS):
        raise ValueError(f"the layer-wise figure shows 1 to {len(COLOURS)} models, not {len(objectives)}")
    figure = new_figure(height=3.5)
    rate, share = figure.subplots(1, 2)
    for (name, objective), colour in zip(objectives.items(), COLOURS, strict=False):
        _curve(rate, objective, "subspace_rate", name, colour)
        _curve(share, objective, "nonzero", name, colour)
    rate.set(title="Compression: coding rate in the subspaces", ylabel="$R^c$ of the layer's input (nats)")
    share.set(title="Sparsity: share of non-zero entries", ylabel="non-zeros in the layer's output")
    share.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    share.set_ylim(0, 1.03)
    rate.set_ylim(bottom=0)
    for panel in (rate, share):
        panel.set_xlabel("layer")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    legend_below(figure, rate, columns=min(4, 2 * len(objectives)))
    return figure


def _curve(axes: Axes, objective: LayerwiseObjective, quantity: str, name: str, colour: str) -> None:
    mean, spread = objective.mean(quantity), objective.spread(quantity)
    axes.plot(objective.layers, mean, color=colour, marker="o", label=name)
    axes.fill_between(objective.layers, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    untrained = objective.mean(f"untrained_{quantity}")
    axes.plot(
        objective.layers, untrained, color=colour, linestyle="--", marker="o", mfc="white", label=f"{name}, untrained"
    )
