"""Scores of attention against masks, beside their controls."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crate_transformer.evaluation import MaskScore, SegmentationReport
from crate_transformer.reports.style import COLOURS, CONTROL_GREY, INK, legend_below, new_figure, styled

CHANCE = 0.5
SPACE = 0.4  # between groups of bars
CUES = {
    "mean_mask_prior": "mean mask for every image",
    "brightness": "brightness",
    "contrast": "contrast",
    "median_difference": "difference from the median brightness",
}


@styled
def scores_figure(report: SegmentationReport, names: Mapping[str, str] | None = None) -> Figure:
    """AUC and mean IoU as bars with standard errors: the models in colour, their controls in grey.

    Args:
        names: display names of the models, such as ``{"crate": "CRATE"}``.
    """
    names = {model: model for model in report.models} | dict(names or {})
    colours = dict(zip(report.models, COLOURS, strict=False))
    groups = [
        [
            (model, f"{names[model]}, trained", colours[model]),
            (f"{model}_untrained", f"{names[model]}, untrained", CONTROL_GREY),
            (f"{model}_shuffled", f"{names[model]}, masks of other images", CONTROL_GREY),
        ]
        for model in report.models
    ]
    groups.append([(row, text, CONTROL_GREY) for row, text in CUES.items()])
    for model in report.models:
        trained = (f"{model}_centred", f"{names[model]}, centred", colours[model])
        groups.append([trained, (f"{model}_untrained_centred", f"{names[model]}, untrained, centred", CONTROL_GREY)])
    rows = [
        _Row(place + SPACE * group, *row)
        for place, (group, row) in enumerate((group, row) for group, rows in enumerate(groups) for row in rows)
    ]
    figure = new_figure(height=1.2 + 0.25 * rows[-1].place)
    auc, miou = figure.subplots(1, 2, sharey=True)
    _bars(auc, report.auc, rows, start=CHANCE)
    _bars(miou, report.miou, rows, start=0.0)
    auc.axvline(CHANCE, color=INK, linewidth=1)
    auc.set(title="AUC (chance: 0.5)", xlabel="area under the ROC curve")
    miou.set(title="Mean IoU", xlabel="mean intersection over union")
    auc.set_yticks([row.place for row in rows], [row.text for row in rows])
    auc.set_ylim(rows[-1].place + 0.6, -0.6)
    for label, row in zip(auc.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row.colour != CONTROL_GREY else "normal")
    figure.supxlabel("centred: each head's mean map subtracted; error bars: standard errors over images", fontsize=8.5)
    return figure


class _Row(NamedTuple):
    """A bar: its position from the top, its score, label and colour."""

    place: float
    score: str
    text: str
    colour: str


def _bars(axes: Axes, scores: Mapping[str, MaskScore], rows: Sequence[_Row], start: float) -> None:
    for place, name, _, colour in rows:
        mean, error = scores[name].mean, scores[name].standard_error
        axes.barh(place, mean - start, left=start, height=0.75, color=colour)
        axes.errorbar(mean, place, xerr=error, color=INK, linewidth=1, capsize=2)
        beyond = max(mean + error, start)
        axes.annotate(f"{mean:.3f}", (beyond, place), (4, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.16)
    low, high = axes.get_xlim()
    axes.set_xlim(low if low < start else start, high)


@styled
def layer_scores_figure(report: SegmentationReport, names: Mapping[str, str] | None = None) -> Figure:
    """AUC of the best head of each layer against depth; solid: trained, dashed: untrained."""
    names = {model: model for model in report.models} | dict(names or {})
    figure = new_figure(height=3.3)
    axes = figure.subplots()
    for model, colour in zip(report.models, COLOURS, strict=False):
        axes.plot(report.layer_auc[model], color=colour, marker="o", label=names[model])
        untrained = report.layer_auc[f"{model}_untrained"]
        axes.plot(untrained, color=colour, linestyle="--", marker="o", mfc="white", label=f"{names[model]}, untrained")
    axes.axhline(CHANCE, color=INK, linewidth=1, label="chance")
    axes.set(title="Attention against masks, best head of each layer", xlabel="layer", ylabel="AUC")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    legend_below(figure, axes, columns=5)
    return figure
