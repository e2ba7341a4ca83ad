"""The objective in every layer, as curves."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from crate_transformer.inspection import EnergySteps, LayerSteps, LayerwiseObjective
from crate_transformer.reports.style import COLOURS, INK, RATE, legend_below, new_figure, styled

_LEGEND_LETTERS = 112  # that fit side by side under the figure


@styled
def layerwise_figure(objectives: Mapping[str, LayerwiseObjective]) -> Figure:
    """R^c and the fraction of non-zeros against depth for several models, each beside its untrained control.

    One colour per model, in the order given: solid with a band of one standard deviation over images for the trained
    model, dashed for the untrained one. At most seven models, or checkpoints of one model.

    Raises:
        ValueError: there are more than seven, or they were measured at different places, or with another normalisation
            or epsilon.
    """
    if not 0 < len(objectives) <= len(COLOURS):
        raise ValueError(f"the layer-wise figure shows 1 to {len(COLOURS)} models, not {len(objectives)}")
    longest = max(map(len, objectives)) + len(", untrained")
    columns = max(1, min(4, 2 * len(objectives), _LEGEND_LETTERS // (longest + 6)))
    measured = {(one.place, one.normalisation, one.epsilon_squared) for one in objectives.values()}
    if len(measured) > 1:
        raise ValueError(
            "the layer-wise figure compares models measured in the same way; these differ in place, normalisation or "
            f"epsilon squared: {', '.join(map(str, sorted(measured)))}"
        )
    ((place, _, _),) = measured
    figure = new_figure(height=3.3 + 0.2 * -(-2 * len(objectives) // columns))
    rate, sparsity = figure.subplots(1, 2)
    for (name, objective), colour in zip(objectives.items(), COLOURS, strict=False):
        _curve(rate, objective, "subspace_rate", name, colour)
        _curve(sparsity, objective, "nonzero", name, colour)
    where = {"input": "the layer input", "half": "the tokens after attention"}[place]
    rate.set(title="Compression: coding rate in the subspaces", ylabel=f"{RATE} of {where} (nats)")
    sparsity.set(title="Sparsity: fraction of non-zero entries", ylabel="non-zeros after the sparse step")
    sparsity.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    sparsity.set_ylim(0, 1.03)
    rate.set_ylim(bottom=0)
    for panel in (rate, sparsity):
        panel.set_xlabel("layer")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    legend_below(figure, rate, columns=columns)
    return figure


def _curve(axes: Axes, objective: LayerwiseObjective, quantity: str, name: str, colour: str) -> None:
    mean, spread = objective.mean(quantity), objective.spread(quantity)
    axes.plot(objective.layers, mean, color=colour, marker="o", label=name)
    axes.fill_between(objective.layers, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    untrained = objective.mean(f"untrained_{quantity}")
    axes.plot(
        objective.layers, untrained, color=colour, linestyle="--", marker="o", mfc="white", label=f"{name}, untrained"
    )


@styled
def steps_figure(steps: LayerSteps) -> Figure:
    """Change of R^c by the attention of each layer and, if there is a sparse step, change of the LASSO objective from
    the feasible start to the code: mean over images, a band of one standard deviation; dashed: an untrained model."""
    pair = ((steps.trained, "trained", "-"), (steps.untrained, "untrained", "--"))
    panels = [
        (
            f"Attention: change of {RATE}",
            f"{RATE} after minus before (nats)",
            [found.rate_after - found.rate_before for found, _, _ in pair],
        )
    ]
    if sparse := [found.sparse for found, _, _ in pair if found.sparse]:
        panels.append(
            (
                "Sparse step: change of the LASSO objective",
                "objective of the code minus\nthat of the feasible start",
                [one.after - one.before for one in sparse],
            )
        )
    figure = new_figure(height=3.3)
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, (title, label, changes) in zip(drawn, panels, strict=True):
        for change, (_, name, line) in zip(changes, pair, strict=True):
            _change(panel, steps.layers, change, name, line)
        _label(panel, title, label)
    legend_below(figure, drawn[0], columns=2)
    return figure


@styled
def energies_figure(energies: EnergySteps, untrained: EnergySteps) -> Figure:
    """Change of the energy of each step by this step, layer by layer: mean over images, a band of one standard
    deviation; dashed: an untrained model."""
    figure = new_figure(height=3.3)
    panels = figure.subplots(1, 2)
    for found, name, line in ((energies, "trained", "-"), (untrained, "untrained", "--")):
        changes = (
            found.attention_after - found.attention_before,
            found.feed_forward_after - found.feed_forward_before,
        )
        for panel, change in zip(panels, changes, strict=True):
            _change(panel, tuple(range(change.shape[1])), change, name, line)
    for panel, step in zip(panels, ("Attention", "Feed-forward step"), strict=True):
        _label(panel, f"{step}: change of its energy", "energy after minus before")
    legend_below(figure, panels[0], columns=2)
    return figure


def _label(panel: Axes, title: str, label: str) -> None:
    panel.axhline(0, color=INK, linewidth=1)
    panel.set(title=title, xlabel="layer", ylabel=label)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _change(
    axes: Axes, layers: tuple[int, ...], change: Float[np.ndarray, "images layers"], name: str, line: str
) -> None:
    mean, spread = change.mean(axis=0), change.std(axis=0)
    axes.plot(
        layers, mean, color=COLOURS[0], linestyle=line, marker="o", label=name, mfc=None if line == "-" else "white"
    )
    if line == "-":
        axes.fill_between(layers, mean - spread, mean + spread, color=COLOURS[0], alpha=0.15, linewidth=0)
