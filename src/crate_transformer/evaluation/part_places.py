"""Where the parts of objects lie on the token grid."""

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Int

from crate_transformer.data import PartArrays

RADIUS = 0.15
"""Largest distance of the strongest patch from a point, as a fraction of the longer side of the object's box."""


def patches_of_parts(arrays: PartArrays, grid: tuple[int, ...]) -> Bool[np.ndarray, "images parts rows columns"]:
    """Which patches lie at which part of an image; none if it is not visible."""
    if arrays.points is None:
        assert arrays.regions is not None
        pixels = rearrange(arrays.regions, "i p (r h) (c w) -> i p r c (h w)", r=grid[0], c=grid[1])
        return np.asarray(pixels.any(axis=-1))
    height, width = arrays.pixels.shape[-2:]
    x, y = (np.arange(grid[1]) + 0.5) * width / grid[1], (np.arange(grid[0]) + 0.5) * height / grid[0]
    across = x - arrays.points[..., 0, None]
    down = y - arrays.points[..., 1, None]
    longer = (arrays.boxes[:, 2:] - arrays.boxes[:, :2]).max(axis=1)
    return np.hypot(across[..., None, :], down[..., None]) <= RADIUS * longer[:, None, None, None]


def visible_parts(
    arrays: PartArrays, table: Bool[np.ndarray, "images parts rows columns"]
) -> Bool[np.ndarray, "images parts"]:
    """Whether a part is in the image, and if it is a region, whether it covers a pixel."""
    return np.asarray(table.any(axis=(2, 3)) if arrays.points is None else ~np.isnan(arrays.points[..., 0]))


def places_in_boxes(arrays: PartArrays) -> Float[np.ndarray, "images parts 2"]:
    """The place of each part within the box of its object, from (0, 0) to (1, 1); of a region its mean place."""
    if arrays.points is None:
        assert arrays.regions is not None
        side = np.arange(arrays.regions.shape[-1]) + 0.5
        area = arrays.regions.sum(axis=(2, 3)).clip(min=1)
        across = (arrays.regions.sum(axis=2) * side).sum(axis=-1) / area
        down = (arrays.regions.sum(axis=3) * side).sum(axis=-1) / area
        points = np.stack([across, down], axis=-1)
    else:
        points = arrays.points
    corner, opposite = arrays.boxes[:, None, :2], arrays.boxes[:, None, 2:]
    return (points - corner) / (opposite - corner)


def patches_at(place: Float[np.ndarray, " 2"], arrays: PartArrays, grid: tuple[int, ...]) -> Int[np.ndarray, " images"]:
    """The patch at a place within the box of every image, the nearest one if the place is outside of the image."""
    points = arrays.boxes[:, :2] + place * (arrays.boxes[:, 2:] - arrays.boxes[:, :2])
    height, width = arrays.pixels.shape[-2:]
    columns = (points[:, 0] * grid[1] / width).astype(int).clip(0, grid[1] - 1)
    rows = (points[:, 1] * grid[0] / height).astype(int).clip(0, grid[0] - 1)
    return rows * grid[1] + columns
