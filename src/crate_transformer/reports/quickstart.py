"""The page that ``crate quickstart`` writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape

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
    """Everything the page shows. Pictures are ``(images, height, width, 3)`` bytes, the first ones of the test set."""

    looks: Sequence[Look]
    answers: Mapping[str, str]
    bundled: Mapping[str, object]
    pictures: np.ndarray
    masks: np.ndarray
    labels: Sequence[str]
    predictions: Mapping[str, Sequence[str]]
    maps: Mapping[str, AttentionMaps]
    objectives: Mapping[str, LayerwiseObjective]
    segmentation: SegmentationReport
    heads: HeadSummary
    records: Mapping[str, Sequence[Mapping[str, object]]]
    metrics: Mapping[str, object]
    findings: Sequence[object]
    how: str
    command: str


def quickstart_page(results: QuickstartResults, folder: Path) -> Path:
    """Draw the figures into ``folder`` and compose ``report.html``, whose path is returned."""
    accuracy = results.metrics["accuracy"]
    lead = escape(
        f"A CRATE trained on this machine reads {accuracy['crate']:.1%} of handwritten digits that it never saw, "
        f"a ViT of about as many parameters and the same number of steps {accuracy['vit']:.1%}. "
        "Neither was ever given a mask; below is what their layers and heads do, each number beside its controls. "
    ) + Markup(
        'Move over the patches yourself: <a href="photographs.html">a trained model on photographs</a>, '
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
    footer = "The numbers of this page, for machines: metrics.json beside it."
    return write_page(folder / "report.html", "CRATE on your machine", lead, sections, footer)


def _figure(figure: object, folder: Path, name: str, caption: str, alternative: str) -> tuple[Path, str, str]:
    return save_figure(figure, folder / "figures" / f"{name}.png"), caption, alternative


def _statuses(results: QuickstartResults) -> Section:
    rows = [[finding.phenomenon, finding.sentence] for finding in results.findings]
    return Section(
        "What is seen here, and what is not", table=Table(["phenomenon of the papers", "on this machine"], rows)
    )


def _box(results: QuickstartResults, folder: Path) -> Section:
    layer, head = results.bundled["layer"], results.bundled["head"]
    figures = []
    for look in results.looks:
        chosen = look.attention.maps[:, layer, head]
        last = look.attention.maps[:, -1].mean(axis=1)
        maps = {f"layer {layer}, head {head}": chosen, f"layer {look.attention.layers[-1]}, mean of heads": last}
        figure = attention_figure(look.image[None], maps, title=look.name)
        caption = results.answers[look.name]
        figures.append(
            _figure(figure, folder, f"bundled-{look.name}", caption, f"attention over the photograph {look.name}")
        )
    text = (
        f"{results.bundled['knows']} These photographs come with scikit-image; its answer is told where the subject is "
        f"one of its classes and left out where it cannot be right. Layer {layer}, head {head} was chosen on masked "
        "images of COCO, not on these."
    )
    return Section("A trained model on photographs", text, figures)


def _task(results: QuickstartResults, folder: Path) -> Section:
    figure = samples_figure(results.pictures, list(results.labels), results.masks, title="The first test images")
    text = (
        "Real handwritten digits (scikit-learn) cut out of one photograph and laid over another, at uniform "
        "positions and "
        "mixed sizes, lighter or darker than their ground by a coin's toss. Digits and photo regions of the test "
        "set are "
        "never seen in training. The masks are used for scoring only."
    )
    return Section("The task", text, [_figure(figure, folder, "samples", "Mask outlines drawn over.", "sample images")])


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
    caption = f"{metrics['test_images']} test images; chance is .100."
    figure = training_figure({NAMES[key]: records for key, records in results.records.items()})
    return Section(
        "Accuracy",
        table=Table(columns, rows, caption, highlight=[0]),
        figures=[_figure(figure, folder, "training", "Training loss.", "loss against step")],
    )


def _layers(results: QuickstartResults, folder: Path) -> Section:
    figure = layerwise_figure(results.objectives)
    text = Markup(
        "A CRATE layer first compresses the tokens against its subspaces, which is meant to lower R<sup>c</sup>, then "
        "sparsifies them. "
        "Both curves stand beside those of a freshly initialised model of the same shape, because some of their "
        "fall comes "
        "with the architecture. The measurement is the released one: the projected block input, tokens normalised, "
        "\N{GREEK SMALL LETTER EPSILON}\N{SUPERSCRIPT TWO} = 0.01; for the ViT the keys take the projection's place."
    )
    caption = "Mean over test images and one standard deviation; solid trained, dashed untrained."
    return Section(
        "What each layer does to the objective", text, [_figure(figure, folder, "layerwise", caption, "curves")]
    )


def _attention(results: QuickstartResults, folder: Path) -> Section:
    report = results.segmentation
    maps = {}
    for key, name in NAMES.items():
        for suffix, word in (("", ""), ("_untrained", " untrained")):
            score = report.auc[key + suffix]
            label = f"{name}{word}\nlayer {score.layer}, head {score.head}"
            maps[label] = results.maps[key + suffix].maps[:, score.layer, score.head]
    titles = [
        f"{label}\n" + "\n".join(f"{NAMES[key]}: {answers[i]}" for key, answers in results.predictions.items())
        for i, label in enumerate(results.labels)
    ]
    count = min(6, len(results.pictures))
    figure = attention_figure(
        results.pictures[:count], {k: v[:count] for k, v in maps.items()}, results.masks[:count], titles[:count]
    )
    text = (
        "Attention of the class token over the patches, for the first images of the test set, none picked by "
        "hand. Layer and "
        "head were chosen for each model on other images, by AUC against their masks."
    )
    caption = "Left: the picture with its mask. The masks never entered training."
    return Section("Where attention looks", text, [_figure(figure, folder, "attention", caption, "attention maps")])


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
        f"{report.grid[0]} x {report.grid[1]} patches; {report.num_dropped} images left out whose mask covers no "
        "patch by half. "
        "AUC: chance that a patch of the object gets more attention than one beside it. Every row had its layer, "
        "head, sign "
        "and threshold chosen on the selection images."
    )
    return Section(
        "Attention in numbers, with every control",
        "Shuffled: the same maps scored against the masks of other images. Centred: each head's mean map "
        "subtracted. Mean-mask "
        "prior: one mask for all. Brightness, contrast and median difference (from the picture's median "
        "brightness): of the patch itself, no model at all.",
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
        "Each row is one head on the same eight images. Consistency says how similar the content is that a head "
        "gathers from "
        "different images, from about 0 to 1; the table at the top compares it with shuffled maps and an "
        "untrained model."
    )
    return Section("What each head looks at", text, [_figure(figure, folder, "heads", "", "heads by images")])


def _row_name(row: str) -> str:
    for key, name in NAMES.items():
        if row == key or row.startswith(f"{key}_"):
            return (name + row.removeprefix(key)).replace("_", " ")
    return row.replace("_", " ")
