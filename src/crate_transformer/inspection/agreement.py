"""How often a map is larger inside a mask than outside it."""

import numpy as np
from jaxtyping import Bool, Float


def ranks(maps: Float[np.ndarray, "*lead entries"]) -> Float[np.ndarray, "*lead entries"]:
    """1 for the smallest entry of each map; equal ones share the mean of theirs."""
    from scipy.stats import rankdata  # takes 0.3 s to import, which most commands can do without

    return rankdata(maps, axis=-1)


def mann_whitney(hits: Float[np.ndarray, "*lead"], positives: np.ndarray, entries: int) -> Float[np.ndarray, "*lead"]:
    """AUC from the sum of average ranks (1 is the smallest) inside each mask."""
    return (hits - positives * (positives + 1) / 2) / (positives * (entries - positives))


def rank_auc(
    maps: Float[np.ndarray, "*candidates images entries"], masks: Bool[np.ndarray, "images entries"]
) -> Float[np.ndarray, "*candidates images"]:
    """Chance that an entry inside the mask has a larger value than one outside, ties counting half, per image.

    A mask must be neither empty nor full. A constant map scores 0.5.
    """
    return mann_whitney((ranks(maps) * masks).sum(axis=-1), masks.sum(axis=-1), masks.shape[-1])
