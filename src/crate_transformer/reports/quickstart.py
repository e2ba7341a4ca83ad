"""The report page of ``crate quickstart``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from crate_transformer.evaluation import SegmentationReport
from crate_transformer.inspection import AttentionMaps, HeadSummary, LayerwiseObjective, Look
from crate_transformer.reports.attention import attention_figure
from crate_transformer.reports.curves import training_figure
from crate_transformer.reports.heads import heads_figure
from crate_transformer.reports.layerwise import layerwise_figure
from crate_transformer.reports.page import Section, write_page
from crate_transformer.reports.samples import samples_figure
from crate_transformer.reports.scores import layer_scores_figure, scores_figure
from crate_transformer.reports.style import save_figure
from crate_transformer.reports.table import Table

NAMES = {"crate": "CRATE", "vit": "ViT"}


@dataclass(frozen=True, kw_only=True)
class QuickstartResults:
    """Everything on the page.

    ``pictures`` are the first test images, ``(images, height, width, 3)`` bytes; ``findings`` are pairs of a phenomenon
    of the papers and a sentence about it.
    """

    looks: Sequence[Look]
    answers: Mapping[str, str]
    bundled: Mapping[str, Any]
    pictures: np.ndarray
    masks: np.ndarray
    labels: Sequence[str]
    predictions: Mapping[str, Sequence[str]]
    maps: Mapping[str, AttentionMaps]
    objectives: Mapping[str, LayerwiseObjective]
    segmentation: SegmentationReport
    heads: HeadSummary
    records: Mapping[str, Sequence[Mapping[str, object]]]
    metrics: Mapping[str, Any]
    findings: Sequence[tuple[str, str]]
    how: str
    command: str


def quickstart_page(results: QuickstartResults, folder: Path) -> Path:
    """Write the figures and ``report.html`` to ``folder``; returns the path of the page."""
    accuracy = results.metrics["accuracy"]
    lead = escape(
        f"A CRATE trained on this machine classifies {accuracy['crate']:.1%} of the test digits correctly; a ViT with "
        f"about as many parameters and the same number of training steps {accuracy['vit']:.1%}. Neither was trained "
        "with masks. This page shows what their layers and heads do, and compares every number with controls. "
    ) + Markup(
        'Interactive pages: <a href="photographs.html">the bundled model on photographs</a>, '
        '<a href="digits.html">both models on digits</a>.'
    )
    sections = [
        _statuses(results),
        _box(results, folder),
        _task(results, folder),
        _accuracy(results, folder),
        _layers(results, folder),
        _attention(results, folder),
        _numbers(results, folder),
        _heads(results, folder),
        Section("How this page was made", results.how, code=results.command),
    ]
    footer = "The numbers of this page are in metrics.json in the same folder."
    return write_page(folder / "report.html", "CRATE on your machine", lead, sections, footer)


def _figure(figure: Figure, folder: Path, name: str, caption: str, alternative: str) -> tuple[Path, str, str]:
    return save_figure(figure, folder / "figures" / f"{name}.png"), caption, alternative


def _statuses(results: QuickstartResults) -> Section:
    rows = [list(finding) for finding in results.findings]
    return Section(
        "What is seen here, and what is not", table=Table(["phenomenon of the papers", "on this machine"], rows)
    )


def _box(results: QuickstartResults, folder: Path) -> Section:
    layer, head = results.bundled["layer"], results.bundled["head"]
    figures = []
    for look in results.looks:
        if look.attention is None:
            continue
        chosen = look.attention.maps[:, layer, head]
        last = look.attention.maps[:, -1].mean(axis=1)
        maps = {f"layer {layer}, head {head}": chosen, f"layer {look.attention.layers[-1]}, mean of heads": last}
        figure = attention_figure(look.image[None], maps, title=look.name)
        caption = results.answers[look.name]
        figures.append(
            _figure(figure, folder, f"bundled-{look.name}", caption, f"attention over the photograph {look.name}")
        )
    text = (
        f"{results.bundled['knows']} These photographs come with scikit-image. The prediction is shown only if the "
        f"subject is one of the model's classes. Layer {layer}, head {head} was chosen on other photographs."
    )
    return Section("The bundled model on photographs", text, figures)


def _task(results: QuickstartResults, folder: Path) -> Section:
    figure = samples_figure(results.pictures, list(results.labels), results.masks, title="The first test images")
    text = (
        "Real handwritten digits (scikit-learn) are cut out of one photograph and pasted onto another, at uniformly "
        "random positions and in various sizes; they are lighter or darker than the background with equal probability. "
        "The digits and photo regions of the test set are not used in training. The masks are used for scoring only."
    )
    return Section(
        "The task", text, [_figure(figure, folder, "samples", "Test images with mask outlines.", "sample images")]
    )


def _accuracy(results: QuickstartResults, folder: Path) -> Section:
    metrics = results.metrics
    rows = [
        [
            NAMES[key],
            metrics["parameters"][key],
            metrics["steps"],
            metrics["training_seconds"][key],
            metrics["accuracy"][key],
        ]
        for key in NAMES
    ]
    columns = ["model", "parameters", "steps", "seconds", "test accuracy"]
    caption = f"{metrics['test_images']} test images; chance level: 0.100."
    figure = training_figure({NAMES[key]: records for key, records in results.records.items()})
    return Section(
        "Accuracy",
        table=Table(columns, rows, caption, highlight=[0]),
        figures=[_figure(figure, folder, "training", "Training loss.", "loss against step")],
    )


def _layers(results: QuickstartResults, folder: Path) -> Section:
    figure = layerwise_figure(results.objectives)
    text = Markup(
        "A CRATE layer first compresses the tokens against its subspaces, which should lower R<sup>c</sup>, and then "
        "sparsifies them. Both curves are compared with a randomly initialised model of the same shape, because part "
        "of the decrease is due to the architecture alone. As in the released code, R<sup>c</sup> is measured on the "
        "projected block input with normalised tokens and "
        "\N{GREEK SMALL LETTER EPSILON}\N{SUPERSCRIPT TWO} = 0.01; for the ViT, keys replace the projection."
    )
    caption = "Mean over test images, with one standard deviation; solid: trained, dashed: untrained."
    return Section("The objective in every layer", text, [_figure(figure, folder, "layerwise", caption, "curves")])


def _attention(results: QuickstartResults, folder: Path) -> Section:
    report = results.segmentation
    maps = {}
    for key, name in NAMES.items():
        for suffix, word in (("", ""), ("_untrained", " untrained")):
            layer, head = report.chosen_head(key + suffix)
            maps[f"{name}{word}\nlayer {layer}, head {head}"] = results.maps[key + suffix].maps[:, layer, head]
    titles = [
        f"{label}\n" + "\n".join(f"{NAMES[key]}: {answers[i]}" for key, answers in results.predictions.items())
        for i, label in enumerate(results.labels)
    ]
    count = min(6, len(results.pictures))
    figure = attention_figure(
        results.pictures[:count], {k: v[:count] for k, v in maps.items()}, results.masks[:count], titles[:count]
    )
    text = (
        "Attention of the class token over the patches, for the first images of the test set (not hand-picked). For "
        "each model, layer and head were chosen on other images, by AUC against their masks."
    )
    caption = "Left: the image with its mask. The masks were not used in training."
    return Section("Attention maps", text, [_figure(figure, folder, "attention", caption, "attention maps")])


def _numbers(results: QuickstartResults, folder: Path) -> Section:
    report = results.segmentation
    rows = []
    for row, score in report.auc.items():
        iou = report.miou[row]
        where = "" if score.layer is None else f"layer {score.layer}, head {score.head}"
        rows.append([_row_name(row), score.mean, score.standard_error, where, iou.mean, iou.fraction])
    columns = ["row", "AUC", "standard error", "chosen on other images", "mIoU", "fraction of patches kept"]
    caption = (
        f"{report.num_reported} reported and {report.num_selection} selection images on a grid of "
        f"{report.grid[0]} x {report.grid[1]} patches; {report.num_dropped} images were skipped because their mask "
        "covers no patch by more than half. AUC: probability that an object patch gets more attention than a "
        "background patch. For every row, layer, head, sign and threshold were chosen on the selection images."
    )
    return Section(
        "Attention scores with all controls",
        "Shuffled: the same maps, scored against the masks of other images. Centred: each head's mean map is "
        "subtracted. Mean-mask prior: the mean mask for all images. Brightness, contrast and median difference "
        "(from the median brightness of the image) are computed from the patch itself, without a model.",
        [
            _figure(scores_figure(report, NAMES), folder, "scores", "", "scores with controls"),
            _figure(
                layer_scores_figure(report, NAMES), folder, "layers", "Best head of each layer.", "scores by layer"
            ),
        ],
        Table(columns, rows, caption, highlight=[0]),
    )


def _heads(results: QuickstartResults, folder: Path) -> Section:
    summary = results.heads
    maps = results.maps["crate"].maps[:8, summary.layer]
    labels = [f"head {head}\nconsistency {value:.2f}" for head, value in enumerate(summary.consistency)]
    figure = heads_figure(results.pictures[:8], maps, f"CRATE, layer {summary.layer}", labels)
    text = (
        "Each row is one head on the same eight images. Consistency, from about 0 to 1, measures how similar the "
        "features are that a head gathers from different images. The table at the top compares it with shuffled maps "
        "and untrained models."
    )
    return Section("Attention of each head", text, [_figure(figure, folder, "heads", "", "heads by images")])


def _row_name(row: str) -> str:
    for key, name in NAMES.items():
        if row == key or row.startswith(f"{key}_"):
            return (name + row.removeprefix(key)).replace("_", " ")
    return row.replace("_", " ")
