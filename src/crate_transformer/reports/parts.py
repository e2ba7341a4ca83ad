"""Tables and page of ``crate evaluate --parts``: which head marks which part, beside its controls."""

from collections.abc import Mapping

from crate_transformer.evaluation import PartPointing
from crate_transformer.evaluation.part_places import RADIUS
from crate_transformer.inspection.controls import UNTRAINED_MODELS
from crate_transformer.reports.page import Section
from crate_transformer.reports.table import Table

CONTROLS = {
    "untrained": "untrained",
    "baseline": "baseline",
    "position_prior": "prior",
    "shuffled": "others",
}


def parts_table(name: str, found: PartPointing) -> Table:
    """A row for each part: the chosen head and its accuracy beside those of the controls."""
    controls = [row for row in CONTROLS if row in next(iter(found.measures.values())).rows]
    columns = ["part", "head", "accuracy", *(CONTROLS[row] for row in controls), "above"]
    rows = []
    for part, measure in found.measures.items():
        choice = measure.rows["model"].choices[0]
        rows.append(
            [
                part,
                f"{choice['layer']}.{choice['head']}",
                str(measure.rows["model"]),
                *(measure.rows[row].mean for row in controls),
                "no" if measure.not_above else "all",
            ]
        )
    above = [index for index, row in enumerate(rows) if row[-1] == "all"]
    return Table(
        columns, rows, f"{name}: pointing accuracy, {found.input_size[0]} x {found.input_size[1]} pixels", above
    )


def consistency_table(name: str, found: PartPointing) -> Table:
    """A row for each part: whether its head does the same on other species and images."""
    rows = []
    for part, measure in found.measures.items():
        choice, alike = measure.rows["model"].choices[0], found.consistency.get(part, {})
        number = found.parts.index(part)
        above, species = found.species_above(part)
        rows.append(
            [
                part,
                found.num_reported[part],
                float(found.selection_accuracy[choice["layer"], choice["head"], number]),
                float(found.accuracy[choice["layer"], choice["head"], number]),
                f"{above} of {species}" if species else None,
                *(alike.get(row) for row in ("model", "untrained", "shuffled")),
            ]
        )
    columns = ["part", "images", "chosen on", "reported", "species above prior", "consistency", "untrained", "shuffled"]
    return Table(columns, rows, f"{name}: accuracy on both halves, and consistency of the attended content")


def parts_statements(found: PartPointing) -> list[str]:
    """Which parts a head marks, and the rules."""
    marked = [part for part, measure in found.measures.items() if not measure.not_above]
    rule = (
        f"the centre of the strongest patch is within {RADIUS} of the longer side of the object's box from the part"
        if found.kind == "points"
        else "the strongest patch shares a pixel with the region of the part"
    )
    chosen, reported = len(found.selection_groups), len(found.reported_groups)
    groups = "species" if found.by_group else "images"
    limit = max(measure.limit for measure in found.measures.values())
    said = [
        f"a head marks, above every control: {', '.join(marked) or 'no part'}",
        f"above: by {limit:.1f} standard errors over {groups}, which is by chance in 2.3% of all cases (Student's t)",
        f"accuracy: {rule}, in images where the part is visible; head 5.0 is head 0 of layer 5",
        f"heads were chosen on {chosen} {groups} and are reported on {reported} others (seed {found.seed}); prior: "
        "the mean place of the part within the box of the object, which no model is told; others: the strongest patch "
        f"against the part in images of other species; untrained: the highest of {UNTRAINED_MODELS}",
    ]
    return said + ([f"too few images to choose and report: {', '.join(found.skipped)}"] if found.skipped else [])


def parts_sections(sets: Mapping[str, PartPointing]) -> list[Section]:
    """Two sections of the page for each set."""
    sections = []
    for name, found in sets.items():
        sections.append(
            Section(f"Parts: {name}", text="\n\n".join(parts_statements(found)), table=parts_table(name, found))
        )
        sections.append(Section(f"Consistency: {name}", table=consistency_table(name, found)))
    return sections
