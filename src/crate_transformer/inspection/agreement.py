"""AUC of maps against masks."""

import numpy as np
from jaxtyping import Bool, Float


def ranks(maps: Float[np.ndarray, "*lead entries"]) -> Float[np.ndarray, "*lead entries"]:
    """The rank of each entry in its map, from 1 for the smallest; equal entries have their mean rank."""
    from scipy.stats import rankdata  # takes 0.3 s to import, which most commands can do without

    return rankdata(maps, axis=-1)


def mann_whitney(
    hits: Float[np.ndarray, "*lead"], positives: np.ndarray, entries: int | np.ndarray
) -> Float[np.ndarray, "*lead"]:
    """AUC from the sum of average ranks (1 is the smallest value) inside each mask."""
    return (hits - positives * (positives + 1) / 2) / (positives * (entries - positives))


def rank_auc(
    maps: Float[np.ndarray, "*candidates images entries"],
    masks: Bool[np.ndarray, "images entries"],
    scored: Bool[np.ndarray, "images entries"] | None = None,
) -> Float[np.ndarray, "*candidates images"]:
    """AUC per image: the probability that an entry inside the mask is larger than one outside; ties count half.

    A mask must be neither empty nor full. A constant map scores 0.5. Only ``scored`` entries count, by default all.
    """
    positives = masks.sum(axis=-1)
    if scored is None:
        return mann_whitney((ranks(maps) * masks).sum(axis=-1), positives, masks.shape[-1])
    entries = scored.sum(axis=-1)  # the others get the smallest ranks
    above = ranks(np.where(scored, maps, -np.inf)) - (masks.shape[-1] - entries)[:, None]
    return mann_whitney((above * masks).sum(axis=-1), positives, entries)
