"""How training went."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crate_transformer.reports.style import COLOURS, legend_below, new_figure, styled


@styled
def training_figure(runs: Mapping[str, Sequence[Mapping[str, object]]]) -> Figure:
    """Loss against step for several runs, from the records of their ``metrics.jsonl``.

    Records without a loss, such as that of the final evaluation, are skipped.

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
            raise ValueError(f"the records of {name} hold no loss: nothing can be drawn")
        steps, losses = zip(*points, strict=True)
        axes.plot(steps, losses, color=colour, marker="o", markersize=3, label=name)
    axes.set(title="Training loss", xlabel="step", ylabel="cross-entropy (nats)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    legend_below(figure, axes, columns=min(4, len(runs)))
    return figure
