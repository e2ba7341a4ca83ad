"""Semantics of attention heads."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from crate_transformer.data import VOID
from crate_transformer.inspection.agreement import rank_auc
from crate_transformer.inspection.attention import attention_maps
from crate_transformer.inspection.controls import untrained_twin
from crate_transformer.inspection.heads import HeadSummary, head_summary
from crate_transformer.inspection.patches import on_grid
from crate_transformer.models import Backbone


@dataclass(frozen=True, kw_only=True)
class LabelMatches:
    """How well the heads of a layer segment each class or part; an AUC of 0.5 is chance.

    ``auc`` is the mean over the ``num_images`` images with a label. ``best_head`` is its largest entry; ``matched`` is
    the cross-validated AUC: the head is chosen on every second of these images and evaluated on the others, and vice
    versa. Controls: ``untrained_matched``, the same with an untrained model; ``shuffled_matched``, the maps of the
    chosen heads against the masks of the label on other images. A head attends to the label only if it is above both.
    """

    labels: tuple[int, ...]
    num_images: Int[np.ndarray, " labels"]
    auc: Float[np.ndarray, "heads labels"]
    best_head: Int[np.ndarray, " labels"]
    matched: Float[np.ndarray, " labels"]
    untrained_matched: Float[np.ndarray, " labels"]
    shuffled_matched: Float[np.ndarray, " labels"]


@dataclass(frozen=True, kw_only=True)
class HeadSemantics:
    """The heads of one layer over a set of images: their maps, their consistency, and the labels they match.

    ``maps`` and the images are the input of ``reports.heads_figure``, with ``head_labels`` as row labels. ``skipped``
    labels are on fewer than two images (or never cover more than half of what is known of a patch), so no head can be
    chosen for them.
    """

    layer: int
    maps: Float[np.ndarray, "images heads rows columns"]
    summary: HeadSummary
    matches: LabelMatches | None
    skipped: tuple[int, ...] = ()

    @property
    def head_labels(self) -> list[str]:
        """A label for each head, with its consistency and that of the untrained model."""
        pairs = zip(self.summary.consistency, self.summary.untrained_consistency, strict=True)
        return [f"head {head}\nconsistency {mine:.2f}\nuntrained {base:.2f}" for head, (mine, base) in enumerate(pairs)]


def head_semantics(
    model: Backbone,
    images: Float[Tensor, "images channels height width"],
    *,
    layer: int = -1,
    labels: Int[np.ndarray, "images height width"] | None = None,
    untrained: Backbone | None = None,
) -> HeadSemantics:
    """What each head of a layer attends to over a set of images (arXiv 2308.16271, section 3, by visual inspection).

    The consistency of a head needs no labels, see ``head_summary``. With ``labels``, the class token's attention in
    every head is compared with every class or part by AUC: the probability that one of its patches gets more attention
    than another patch.

    Args:
        layer: zero-based, negative ones count from the end; the paper shows the second to last.
        labels: a class or part for each pixel, 0 for none and 255 for unknown; a patch has the label that covers more
            than half of its known pixels, and does not count if more than half of it is unknown.
        untrained: the control; default: ``untrained_twin(model)``.

    Raises:
        ValueError: there are fewer than two images, or the layer does not exist.
    """
    control = untrained_twin(model) if untrained is None else untrained
    summary = head_summary(model, images, layer=layer, untrained=control)
    maps = attention_maps(model, images, layers=[summary.layer]).maps[:, 0]
    matches, skipped = None, ()
    if labels is not None:
        control_maps = attention_maps(control, images, layers=[summary.layer]).maps[:, 0]
        matches, skipped = _match(maps, control_maps, labels)
    return HeadSemantics(layer=summary.layer, maps=maps, summary=summary, matches=matches, skipped=skipped)


def _match(
    maps: np.ndarray, control_maps: np.ndarray, labels: np.ndarray
) -> tuple[LabelMatches | None, tuple[int, ...]]:
    grid, unknown = maps.shape[-2:], labels == VOID
    scored = ~on_grid(unknown, grid)
    found: dict[int, tuple[np.ndarray, ...]] = {}
    skipped = []
    present = [int(label) for label in np.unique(labels) if label not in (0, VOID)]
    for label in present:
        masks = on_grid(labels == label, grid, unknown) & scored
        shown = np.flatnonzero(masks.any(axis=(1, 2)) & (scored & ~masks).any(axis=(1, 2)))
        if len(shown) < 2:
            skipped.append(label)
            continue
        truth = [some[shown].reshape(len(shown), -1) for some in (masks, scored)]
        flat, control = (
            some[shown].swapaxes(0, 1).reshape(some.shape[1], len(shown), -1) for some in (maps, control_maps)
        )
        aucs = rank_auc(flat, *truth)
        chosen, each = _chosen(aucs), np.arange(len(shown))
        control_aucs = rank_auc(control, *truth)
        other = rank_auc(flat[chosen, each][None], *(np.roll(some, 1, axis=0) for some in truth))[0]
        scores = (aucs[chosen, each], control_aucs[_chosen(control_aucs), each], other)
        found[label] = (np.array(len(shown)), aucs.mean(axis=1), *(score.mean() for score in scores))
    if not found:
        return None, tuple(skipped)
    counts, auc, matched, untrained, shuffled = (np.stack(part, axis=-1) for part in zip(*found.values(), strict=True))
    return LabelMatches(
        labels=tuple(found),
        num_images=counts,
        auc=auc,
        best_head=auc.argmax(axis=0),
        matched=matched,
        untrained_matched=untrained,
        shuffled_matched=shuffled,
    ), tuple(skipped)


def _chosen(aucs: np.ndarray) -> np.ndarray:
    """For each image, the head that is best on the images of the other parity."""
    parity = np.arange(aucs.shape[1]) % 2
    return np.array([aucs[:, parity != number].mean(axis=1).argmax() for number in (0, 1)])[parity]
