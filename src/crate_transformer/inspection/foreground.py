"""From an attention map to a mask: the two readings of "keep 60%"."""

import numpy as np
from jaxtyping import Bool, Float


def _sorted(
    maps: Float[np.ndarray, "*lead rows columns"], fraction: float
) -> tuple[Float[np.ndarray, "*lead entries"], np.ndarray]:
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}: it must lie above 0 and be at most 1")
    flat = maps.reshape(*maps.shape[:-2], -1)
    order = np.argsort(flat, axis=-1, kind="stable")
    return np.take_along_axis(flat, order, axis=-1), order


def threshold_mass(
    maps: Float[np.ndarray, "*lead rows columns"], fraction: float = 0.6
) -> Bool[np.ndarray, "*lead rows columns"]:
    """Keep the largest entries that together hold ``fraction`` of each map's sum.

    The rule of DINO's visualisation (arXiv 2104.14294): sort ascending, keep where the running sum exceeds
    ``1 - fraction``. Of equal entries the later one in reading order counts as larger. A map of zeros keeps nothing.

    Raises:
        ValueError: ``fraction`` is not in (0, 1].
    """
    values, order = _sorted(maps, fraction)
    total = values.sum(axis=-1, keepdims=True)
    running = np.cumsum(values / np.where(total == 0, 1, total), axis=-1)
    keep = np.empty(order.shape, dtype=bool)
    np.put_along_axis(keep, order, running > 1 - fraction, axis=-1)
    return keep.reshape(maps.shape)


def threshold_entries(
    maps: Float[np.ndarray, "*lead rows columns"], fraction: float = 0.6
) -> Bool[np.ndarray, "*lead rows columns"]:
    """Keep the largest ``fraction`` of each map's entries, rounded to a whole number and at least one.

    The wording of arXiv 2308.16271, appendix B. Of equal entries the later one in reading order counts as larger.

    Raises:
        ValueError: ``fraction`` is not in (0, 1].
    """
    _, order = _sorted(maps, fraction)
    count = max(1, round(fraction * order.shape[-1]))
    keep = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(keep, order[..., -count:], True, axis=-1)
    return keep.reshape(maps.shape)
