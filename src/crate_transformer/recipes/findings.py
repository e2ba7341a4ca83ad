"""The findings of a run, one sentence for each phenomenon of the papers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crate_transformer.evaluation import SegmentationReport
from crate_transformer.inspection import HeadSummary, LayerwiseObjective

MARGIN = 0.05
"""Smallest effect that counts as seen, as a fraction or a cosine."""
SETS = {
    "pets": "cats and dogs",
    "animal_masks": "other animals",
    "ecssd": "salient objects",
    "camo_animals": "camouflaged animals",
    "coco_val100": "COCO",
}
"""What is in the sets of photographs with masks, for names that do not say it."""


@dataclass(frozen=True)
class Finding:
    """A phenomenon of the papers, whether it is seen here, and the numbers that show it."""

    phenomenon: str
    seen: bool
    sentence: str


def compression(objectives: Sequence[LayerwiseObjective]) -> Finding:
    """R^c of the last layer relative to the first: seen if it decreases, and by more than in every untrained model.

    Each layer is measured in its own subspaces, as in arXiv 2306.01129, section 3.1. The theory says that each layer
    lowers R^c in its own subspaces; it does not compare layers.

    Args:
        objectives: measurements of one model, each with a different untrained control.
    """
    trained = _last_to_first(objectives[0].subspace_rate)
    untrained = [_last_to_first(objective.untrained_subspace_rate) for objective in objectives]
    seen = trained < min(1.0, min(untrained) - MARGIN)
    return Finding(
        "Layers compress",
        seen,
        f"{status(seen)}: R^c of the last layer is {trained:.0%} of that of the first, each layer measured in its own "
        f"subspaces; in {len(untrained)} untrained models it is {min(untrained):.0%} to {max(untrained):.0%}.",
    )


def sparsification(objectives: Sequence[LayerwiseObjective]) -> Finding:
    """Fraction of non-zeros of the sparsest layer: seen if it is lower than in every untrained model."""
    trained = objectives[0].mean("nonzero")
    untrained = [float(objective.mean("untrained_nonzero").min()) for objective in objectives]
    seen = bool(trained.min() < min(untrained) - MARGIN)
    return Finding(
        "Layers sparsify",
        seen,
        f"{status(seen)}: in the sparsest layer, {trained.argmin()}, {trained.min():.0%} of the entries are non-zero; "
        f"in the sparsest layers of {len(untrained)} untrained models, {min(untrained):.0%} to {max(untrained):.0%}.",
    )


def _last_to_first(rates: np.ndarray) -> float:
    return float((rates[:, -1] / rates[:, 0]).mean())


def segmentation(report: SegmentationReport, name: str, label: str) -> Finding:
    """Attention of the class token against the masks of the digits: seen if it beats every control."""
    return _segmentation(f"Segmentation emerges in {label}", report.to_dict(), name)


def bundled_segmentation(attention: Mapping[str, Any]) -> Finding:
    """The same for the bundled model, from the scores on sets of photographs that are stored with it.

    Seen if its AUC is above every control on most of the sets.
    """
    told, above = [], 0
    for name, scores in attention["sets"].items():
        auc, beaten = scores["auc"], scores["beats"]["model"]["auc"]
        highest = max(beaten, key=lambda control: auc[control]["mean"])
        unbeaten = ", ".join(_control(control, "model") for control, below in beaten.items() if not below)
        above += not unbeaten
        rest = f", not clearly above {unbeaten}" if unbeaten else ""
        numbers = f"{auc['model']['mean']:.3f} ({_control(highest, 'model')} {auc[highest]['mean']:.3f}){rest}"
        told.append(f"{SETS.get(name, name)} {numbers}")
    seen = 2 * above > len(told)
    return Finding(
        "Segmentation emerges in the bundled model, on photographs",
        seen,
        f"{status(seen)}: on {above} of {len(told)} sets of photographs the AUC of its attention is clearly above "
        f"every control, layer and head chosen on other images (stored with the weights). AUC, and the "
        f"highest control: {'; '.join(told)}.",
    )


def _segmentation(phenomenon: str, report: Mapping[str, Any], name: str) -> Finding:
    beaten, auc = report["beats"][name]["auc"], report["auc"]
    unbeaten = [_control(control, name) for control, above in beaten.items() if not above]
    seen = not unbeaten
    controls = ", ".join(f"{_control(c, name)} {auc[c]['mean']:.3f}" for c in beaten)
    rest = "" if seen else f"; not clearly above {', '.join(unbeaten)}"
    return Finding(
        phenomenon,
        seen,
        f"{status(seen)}: layer {auc[name]['layer']}, head {auc[name]['head']} segments the objects with an AUC of "
        f"{auc[name]['mean']:.3f} ({controls}){rest}.",
    )


def _control(key: str, name: str) -> str:
    return key.removeprefix(f"{name}_").replace("_", " ")


def comparison(report: SegmentationReport, name: str, other: str, labels: Mapping[str, str]) -> Finding:
    """Whether one model's attention segments the objects better than another's, paired over images."""
    difference = report.auc[name].per_image - report.auc[other].per_image
    error = difference.std(ddof=1) / len(difference) ** 0.5
    seen = bool(difference.mean() > 2 * error)
    return Finding(
        f"{labels[name]}'s attention segments objects better than {labels[other]}'s",
        seen,
        f"{status(seen)}: the difference in AUC is {difference.mean():+.3f}, standard error {error:.3f}. Both models "
        f"were trained with the same settings, which were chosen for {labels[name]}.",
    )


def semantic_heads(summaries: Sequence[HeadSummary]) -> Finding:
    """Heads that gather the same content in every image, more consistently than with shuffled maps and than any
    untrained head.

    Args:
        summaries: summaries of one layer of one model, each with a different untrained control.
    """
    summary = summaries[0]
    untrained = np.array([other.untrained_consistency for other in summaries])
    bar = np.maximum(summary.shuffled_consistency, untrained.max())
    steady = [int(head) for head in np.flatnonzero(summary.consistency > bar + MARGIN)]
    seen = bool(steady)
    which = f"heads {', '.join(map(str, steady))}" if seen else "none"
    return Finding(
        "Heads attend to the same content in every image",
        seen,
        f"{status(seen)}: of {len(bar)} heads in layer {summary.layer}, {which} exceed both controls by more than "
        f"{MARGIN} (consistency {numbers(summary.consistency)}; shuffled maps "
        f"{numbers(summary.shuffled_consistency)}; {len(summaries)} untrained models at most {untrained.max():.2f}).",
    )


def status(seen: bool) -> str:
    """The beginning of every sentence."""
    return "Seen here" if seen else "Not seen at this scale"


def numbers(values: np.ndarray) -> str:
    """The values with two decimals each."""
    return " ".join(f"{value:.2f}" for value in values)
