"""Scores of maps against masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from crate_transformer.inspection import threshold_entries
from crate_transformer.inspection.agreement import mann_whitney, rank_auc, ranks

FRACTIONS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)
"""Candidates for the fraction of entries in the mask of an IoU."""


@dataclass(frozen=True, kw_only=True)
class MaskScore:
    """One score on the reported images, with the choices made for it on the selection images.

    ``layer`` and ``head`` are ``None`` for trivial cues, and ``fraction`` (of entries in the mask) is ``None`` for an
    AUC. ``sign`` is -1 if the smallest values indicate the object. ``mean`` and ``standard_error`` are over the images
    of ``per_image``.
    """

    per_image: Float[np.ndarray, " images"]
    layer: int | None = None
    head: int | None = None
    sign: int = 1
    fraction: float | None = None

    @property
    def mean(self) -> float:
        """Mean over images."""
        return float(self.per_image.mean())

    @property
    def standard_error(self) -> float:
        """Unbiased standard deviation over images, divided by the square root of their number."""
        return float(self.per_image.std(ddof=1) / len(self.per_image) ** 0.5)

    @property
    def choices(self) -> dict[str, int | float]:
        """What was chosen on the selection images."""
        chosen = {"layer": self.layer, "head": self.head, "sign": self.sign, "fraction": self.fraction}
        return {name: value for name, value in chosen.items() if value is not None}

    def to_dict(self) -> dict[str, float | int | None]:
        """Everything except per-image values, ready for JSON."""
        choices = {"layer": self.layer, "head": self.head, "sign": self.sign, "fraction": self.fraction}
        return {"mean": self.mean, "standard_error": self.standard_error, **choices}


def top_iou(
    maps: Float[np.ndarray, "*candidates images entries"],
    masks: Bool[np.ndarray, "images entries"],
    fractions: Sequence[float],
    scored: Bool[np.ndarray, "images entries"] | None = None,
) -> Float[np.ndarray, "fractions *candidates images"]:
    """IoU of each mask with the largest entries of the map, for several fractions of the entries.

    The threshold rule is that of ``inspection.threshold_entries``. Only ``scored`` entries count in the IoU.
    """
    order = np.argsort(maps, axis=-1, kind="stable")[..., ::-1]
    counts = np.array([max(1, round(fraction * masks.shape[-1])) for fraction in fractions])

    def among_largest(entries: np.ndarray) -> np.ndarray:
        return np.take_along_axis(np.broadcast_to(entries, order.shape), order, axis=-1).cumsum(-1)[..., counts - 1]

    inside = among_largest(masks)
    kept = counts if scored is None else among_largest(scored)
    return np.moveaxis(inside / (kept + masks.sum(axis=-1, keepdims=True) - inside), -1, 0)


def _mean_over_others(pairs: Float[np.ndarray, "images images"]) -> Float[np.ndarray, " images"]:
    return (pairs.sum(axis=1) - pairs.diagonal()) / (len(pairs) - 1)


def shuffled_auc(
    maps: Float[np.ndarray, "images entries"],
    masks: Bool[np.ndarray, "images entries"],
    scored: Bool[np.ndarray, "images entries"] | None = None,
) -> Float[np.ndarray, " images"]:
    """Mean AUC of each map against the masks of all other images."""
    if scored is None:
        pairs = mann_whitney(ranks(maps) @ masks.T, masks.sum(axis=-1), masks.shape[-1])
    else:
        every = [rank_auc(maps[:, None], mask[None], some[None]) for mask, some in zip(masks, scored, strict=True)]
        pairs = np.concatenate(every, axis=1)
    return _mean_over_others(pairs)


def shuffled_iou(
    maps: Float[np.ndarray, "images entries"],
    masks: Bool[np.ndarray, "images entries"],
    fraction: float,
    scored: Bool[np.ndarray, "images entries"] | None = None,
) -> Float[np.ndarray, " images"]:
    """Mean IoU of each map's largest entries with the masks of all other images."""
    kept = threshold_entries(maps[:, None], fraction)[:, 0].astype(np.float64)
    inside = kept @ masks.T
    counted = kept.sum(axis=-1)[:, None] if scored is None else kept @ scored.T
    return _mean_over_others(inside / (counted + masks.sum(axis=-1) - inside))
