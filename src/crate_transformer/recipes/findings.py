"""What a run shows, one honest sentence for each phenomenon."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crate_transformer.evaluation import SegmentationReport
from crate_transformer.inspection import HeadSummary, LayerwiseObjective


@dataclass(frozen=True)
class Finding:
    """A phenomenon of the papers, whether it is seen here, and the numbers behind the verdict."""

    phenomenon: str
    seen: bool
    sentence: str


def compression(objective: LayerwiseObjective) -> Finding:
    """R^c of the last layer relative to the first: a fall counts only where it exceeds the untrained model's."""
    trained, untrained = (
        values[:, -1] / values[:, 0] for values in (objective.subspace_rate, objective.untrained_subspace_rate)
    )
    seen = clearly_above(untrained, trained)
    return Finding(
        "Layers compress",
        seen,
        f"{verdict(seen)}: from the first to the last layer R^c changes to {trained.mean():.0%} of its value, "
        f"in the untrained model to {untrained.mean():.0%}.",
    )


def sparsification(objective: LayerwiseObjective) -> Finding:
    """Share of non-zeros after the last ISTA step against the untrained model's."""
    trained, untrained = objective.nonzero, objective.untrained_nonzero
    sparsest = int(trained.mean(axis=0).argmin())
    seen = clearly_above(untrained.min(axis=1), trained.min(axis=1))
    return Finding(
        "Layers sparsify",
        seen,
        f"{verdict(seen)}: the sparsest layer, {sparsest}, leaves {trained[:, sparsest].mean():.0%} of the entries "
        f"non-zero; the sparsest of the untrained model leaves {untrained.mean(axis=0).min():.0%}.",
    )


def segmentation(report: SegmentationReport, name: str, label: str) -> Finding:
    """Attention of the class token against the masks of the digits: it must beat every control."""
    return _segmentation(f"Segmentation emerges in {label}", report.to_dict(), name)


def box_segmentation(attention: Mapping[str, object]) -> Finding:
    """The same for the model in the box, as measured on photographs of COCO when it was packed."""
    return _segmentation("Segmentation emerges in the model in the box, on photographs", attention, "crate")


def _segmentation(phenomenon: str, report: Mapping[str, object], name: str) -> Finding:
    beaten, auc = report["beats"][name]["auc"], report["auc"]
    unbeaten = [control.removeprefix(f"{name}_").replace("_", " ") for control, above in beaten.items() if not above]
    seen = not unbeaten
    controls = ", ".join(f"{c.removeprefix(f'{name}_').replace('_', ' ')} {auc[c]['mean']:.3f}" for c in beaten)
    rest = "" if seen else f"; not clearly above {', '.join(unbeaten)}"
    return Finding(
        phenomenon,
        seen,
        f"{verdict(seen)}: layer {auc[name]['layer']}, head {auc[name]['head']} marks the objects with an AUC of "
        f"{auc[name]['mean']:.3f} ({controls}){rest}.",
    )


def semantic_heads(summary: HeadSummary) -> Finding:
    """Heads that gather the same content in every image, more than shuffled maps and an untrained model do."""
    bar = np.maximum(summary.shuffled_consistency, summary.untrained_consistency)
    steady = [int(head) for head in np.flatnonzero(summary.consistency > bar + 0.05)]
    seen = bool(steady)
    which = (
        f"heads {', '.join(map(str, steady))} do"
        if len(steady) > 1
        else f"head {steady[0]} does"
        if steady
        else "none does"
    )
    return Finding(
        "Heads look for the same thing in every image",
        seen,
        f"{verdict(seen)}: of {len(bar)} heads in layer {summary.layer}, {which} so by more than .05 above both "
        f"controls (consistency {numbers(summary.consistency)}; shuffled maps {numbers(summary.shuffled_consistency)}; "
        f"untrained {numbers(summary.untrained_consistency)}).",
    )


def clearly_above(higher: np.ndarray, lower: np.ndarray) -> bool:
    """Whether the mean difference, paired over images, exceeds two of its standard errors."""
    difference = higher - lower
    return bool(difference.mean() > 2 * difference.std(ddof=1) / len(difference) ** 0.5)


def verdict(seen: bool) -> str:
    """How every sentence begins."""
    return "Seen here" if seen else "Not at this scale"


def numbers(values: np.ndarray) -> str:
    """Two decimals each."""
    return " ".join(f"{value:.2f}" for value in values)
