"""What a run shows, one honest sentence for each phenomenon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crate_transformer.evaluation import SegmentationReport
from crate_transformer.inspection import HeadSummary, LayerwiseObjective

MARGIN = 0.05
"""Smallest effect that counts, in fractions and in cosines."""


@dataclass(frozen=True)
class Finding:
    """A phenomenon of the papers, whether it is seen here, and the numbers behind the status."""

    phenomenon: str
    seen: bool
    sentence: str


def compression(objectives: Sequence[LayerwiseObjective]) -> Finding:
    """R^c of the last layer relative to the first: seen if it falls, and further than in every untrained model.

    Each layer is measured in its own subspaces, as in arXiv 2306.01129, section 3.1: the theory has every layer lower
    R^c in its own ones, and says nothing of one layer against another.

    Args:
        objectives: of one model, each with another untrained one beside it.
    """
    trained = _last_to_first(objectives[0].subspace_rate)
    untrained = [_last_to_first(objective.untrained_subspace_rate) for objective in objectives]
    seen = trained < min(1.0, min(untrained) - MARGIN)
    return Finding(
        "Layers compress",
        seen,
        f"{status(seen)}: R^c, of each layer in its own subspaces, changes from the first to the last to {trained:.0%}"
        f" of its value, in {len(untrained)} untrained models to between {min(untrained):.0%} and "
        f"{max(untrained):.0%}.",
    )


def sparsification(objectives: Sequence[LayerwiseObjective]) -> Finding:
    """Fraction of non-zeros of the sparsest layer: seen if it lies below that of every untrained model."""
    trained = objectives[0].mean("nonzero")
    untrained = [float(objective.mean("untrained_nonzero").min()) for objective in objectives]
    seen = bool(trained.min() < min(untrained) - MARGIN)
    return Finding(
        "Layers sparsify",
        seen,
        f"{status(seen)}: the sparsest layer, {trained.argmin()}, leaves {trained.min():.0%} of the entries non-zero; "
        f"the sparsest layers of {len(untrained)} untrained models leave {min(untrained):.0%} to {max(untrained):.0%}.",
    )


def _last_to_first(rates: np.ndarray) -> float:
    return float((rates[:, -1] / rates[:, 0]).mean())


def segmentation(report: SegmentationReport, name: str, label: str) -> Finding:
    """Attention of the class token against the masks of the digits: it must beat every control."""
    return _segmentation(f"Segmentation emerges in {label}", report.to_dict(), name)


def box_segmentation(attention: Mapping[str, object]) -> Finding:
    """The same for the bundled model, as measured on photographs of COCO when it was packed."""
    return _segmentation("Segmentation emerges in the bundled model, on photographs", attention, "crate")


def _segmentation(phenomenon: str, report: Mapping[str, object], name: str) -> Finding:
    beaten, auc = report["beats"][name]["auc"], report["auc"]
    unbeaten = [control.removeprefix(f"{name}_").replace("_", " ") for control, above in beaten.items() if not above]
    seen = not unbeaten
    controls = ", ".join(f"{c.removeprefix(f'{name}_').replace('_', ' ')} {auc[c]['mean']:.3f}" for c in beaten)
    rest = "" if seen else f"; not clearly above {', '.join(unbeaten)}"
    return Finding(
        phenomenon,
        seen,
        f"{status(seen)}: layer {auc[name]['layer']}, head {auc[name]['head']} marks the objects with an AUC of "
        f"{auc[name]['mean']:.3f} ({controls}){rest}.",
    )


def comparison(report: SegmentationReport, name: str, other: str, labels: Mapping[str, str]) -> Finding:
    """Whether one model's attention marks the objects better than another's, paired over images."""
    difference = report.auc[name].per_image - report.auc[other].per_image
    error = difference.std(ddof=1) / len(difference) ** 0.5
    seen = bool(difference.mean() > 2 * error)
    return Finding(
        f"{labels[name]}'s attention marks objects better than {labels[other]}'s",
        seen,
        f"{status(seen)}: the difference in AUC is {difference.mean():+.3f}, standard error {error:.3f}; both trained "
        f"with the same settings, which were chosen for {labels[name]}.",
    )


def semantic_heads(summaries: Sequence[HeadSummary]) -> Finding:
    """Heads that gather the same content in every image: more than with shuffled maps and than any untrained head.

    Args:
        summaries: of one layer of one model, each with another untrained one beside it.
    """
    summary = summaries[0]
    untrained = np.array([other.untrained_consistency for other in summaries])
    bar = np.maximum(summary.shuffled_consistency, untrained.max())
    steady = [int(head) for head in np.flatnonzero(summary.consistency > bar + MARGIN)]
    seen = bool(steady)
    which = f"heads {', '.join(map(str, steady))}" if seen else "none"
    return Finding(
        "Heads look for the same thing in every image",
        seen,
        f"{status(seen)}: of {len(bar)} heads in layer {summary.layer}, {which} by more than {MARGIN} above both "
        f"controls (consistency {numbers(summary.consistency)}; shuffled maps {numbers(summary.shuffled_consistency)}; "
        f"untrained, {len(summaries)} models, at most {untrained.max():.2f}).",
    )


def status(seen: bool) -> str:
    """How every sentence begins."""
    return "Seen here" if seen else "Not at this scale"


def numbers(values: np.ndarray) -> str:
    """Two decimals each."""
    return " ".join(f"{value:.2f}" for value in values)
