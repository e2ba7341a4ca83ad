"""How often a map is larger inside a mask than outside it."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata


def mann_whitney(hits: Float[np.ndarray, "*lead"], positives: np.ndarray, entries: int) -> Float[np.ndarray, "*lead"]:
    """AUC from the sum of average ranks (1 is the smallest) inside each mask."""
    return (hits - positives * (positives + 1) / 2) / (positives * (entries - positives))


def rank_auc(
    maps: Float[np.ndarray, "*candidates images entries"], masks: Bool[np.ndarray, "images entries"]
) -> Float[np.ndarray, "*candidates images"]:
    """Chance that an entry inside the mask has a larger value than one outside, ties counting half, per image.

    A mask must be neither empty nor full. A constant map scores 0.5.
    """
    ranks = rankdata(maps, axis=-1)
    return mann_whitney((ranks * masks).sum(axis=-1), masks.sum(axis=-1), masks.shape[-1])
