"""Tables and page of ``crate evaluate --segmentation``: every measure beside its controls."""

from collections.abc import Mapping

from crate_transformer.evaluation import Comparison, Emergence
from crate_transformer.evaluation.emergence import COCO_COVERAGE
from crate_transformer.inspection.controls import UNTRAINED_MODELS
from crate_transformer.reports.page import Section
from crate_transformer.reports.table import Table

ROWS = {
    "model": "the model",
    "untrained": f"highest of {UNTRAINED_MODELS} untrained",
    "shuffled": "masks of other images",
    "mean_mask_prior": "mean-mask prior",
    "brightness": "brightness",
    "contrast": "contrast",
    "median_difference": "median difference",
}
MEASURES = {
    "auc": "AUC",
    "miou": "mIoU",
    "corloc": "CorLoc",
    "maskcut_ap": "MaskCut AP",
    "miou_entries": "mIoU, top 60% of entries",
    "miou_mass": "mIoU, top 60% of mass",
}


def emergence_tables(name: str, found: Emergence) -> list[Table]:
    """The measures of one set; MaskCut's average precision of boxes and masks in percent is a table of its own."""
    side, count = found.segmentation.input_size[0], found.num_images
    first = [key for key in ("auc", "miou", "corloc", "maskcut_ap") if key in found.measures]
    rows = [
        [text, *(_cell(found.measures[key], row) for key in first)]
        for row, text in ROWS.items()
        if row in found.measures["auc"].rows
    ]
    tables = [
        Table(["", *(MEASURES[key] for key in first)], rows, f"{name}: {count} images, {side} x {side} pixels", (0,))
    ]
    paper = found.miou
    rows = [
        [
            text,
            *(paper.best_head[reading][row].mean for reading in ("entries", "mass")),
            *(_cell(found.measures[f"miou_{reading}"], row) for reading in ("entries", "mass")),
        ]
        for row, text in ROWS.items()
        if row in paper.fixed_head["entries"]
    ]
    columns = ["", "best head, entries", "best head, mass", "fixed head, entries", "fixed head, mass"]
    tables.append(Table(columns, rows, f"{name}: mIoU of the classes, top {paper.fraction:.0%}", (0,)))
    if found.maskcut:
        kinds = [(kind, score) for kind in ("box", "mask") for score in ("ap50", "ap75", "ap")]
        rows = [
            [text, *(100 * getattr(found.maskcut.rows[row][kind], score) for kind, score in kinds)]
            for row, text in ROWS.items()
            if row in found.maskcut.rows
        ]
        what = "single objects" if found.has_objects else "one object per image: the whole mask"
        side = found.maskcut.input_size[0]
        caption = f"{name}: MaskCut's class-agnostic AP in percent, {side} x {side} pixels, {what}"
        tables.append(Table(["", *(f"{kind} {score.upper()}" for kind, score in kinds)], rows, caption, (0,)))
    return tables


def statements(found: Emergence) -> list[str]:
    """For each measure, whether the model is above every control, and what was chosen where."""
    said = [f"{MEASURES[key]}: {comparison_status(found.measures[key])}" for key in MEASURES if key in found.measures]
    report = found.segmentation
    said.append(
        f"AUC and mIoU: layer, head and sign (-1: inverted) were chosen on {report.num_selection} images and are "
        f"reported on the other {report.num_reported} (halves drawn with seed {found.seed}); CorLoc and mIoU of the "
        "top 60%: each half of the images with the choice made on the other half; the same for every control"
    )
    chosen = {key: found.measures[key].rows["model"].choices for key in MEASURES if key in found.measures}
    said.append("chosen: " + "; ".join(f"{MEASURES[key]}: {in_words(made)}" for key, made in chosen.items() if made))
    least, most = COCO_COVERAGE
    coverage = f"or, in COCO, covers less than {least:.0%} or more than {most:.0%} of the image"
    if dropped := found.num_images - report.num_selection - report.num_reported:
        said.append(
            f"{dropped} images were left out of AUC and mIoU: their mask is empty or full on the grid {coverage}"
        )
    if dropped := found.num_images - found.corloc.num_images:
        said.append(f"{dropped} images were left out of CorLoc: their mask is empty {coverage}")
    if dropped := found.miou.num_dropped:
        said.append(f"{dropped} images were left out of the mIoU of the classes: none covers more than half a patch")
    return said


def comparison_status(measure: Comparison) -> str:
    """Whether the model is clearly above every control, in words."""
    if not measure.not_above:
        return "above every control by two standard errors"
    return f"not above {', '.join(ROWS[row] for row in measure.not_above)} by two standard errors"


def in_words(choices: tuple[Mapping[str, int | float], ...]) -> str:
    """Choices in words."""
    return " and ".join(", ".join(f"{name} {value}" for name, value in choice.items()) for choice in choices)


def emergence_sections(sets: Mapping[str, Emergence]) -> list[Section]:
    """A section of the page for each table; the first one of a set has the statements."""
    sections = []
    for name, found in sets.items():
        first, *others = emergence_tables(name, found)
        sections.append(Section(name, text="\n\n".join(statements(found)), table=first))
        sections += [Section(table.caption, table=table) for table in others]
    return sections


def _cell(measure: Comparison, row: str) -> str | None:
    return str(measure.rows[row]) if row in measure.rows else None
