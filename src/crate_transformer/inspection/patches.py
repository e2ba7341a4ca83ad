"""Conversion between pixels and the patch grid."""

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)
"""Luminance weights of red, green and blue (ITU-R BT.601)."""


def on_grid(
    masks: Bool[np.ndarray, "*lead height width"],
    grid: tuple[int, int],
    undecided: Bool[np.ndarray, "*lead height width"] | None = None,
) -> Bool[np.ndarray, "*lead rows columns"]:
    """Masks on the patch grid: true for patches that are covered by more than half.

    Args:
        undecided: pixels that do not count; a patch is true if more than half of its other pixels are covered.

    Raises:
        ValueError: the size of the masks is not a multiple of this grid.
    """
    height, width = masks.shape[-2:]
    if height % grid[0] or width % grid[1]:
        raise ValueError(f"masks of {height} x {width} pixels cannot be divided into {grid[0]} x {grid[1]} patches")
    counted = ~masks if undecided is None else ~(masks | undecided)
    covered, rest = (
        rearrange(pixels, "... (r h) (c w) -> ... r c (h w)", r=grid[0], c=grid[1]).sum(axis=-1)
        for pixels in (masks, counted)
    )
    return covered > rest


def patch_luminance(
    pixels: UInt8[Tensor, "*lead 3 height width"], grid: tuple[int, int]
) -> Float[np.ndarray, "*lead rows columns pixels_of_a_patch"]:
    """Luminance of the pixels of each patch, from 0 to 255."""
    luminance = torch.einsum("... c h w, c -> ... h w", pixels.float().cpu(), torch.tensor(LUMINANCE))
    return rearrange(luminance, "... (r h) (c w) -> ... r c (h w)", r=grid[0], c=grid[1]).numpy()


def upsample(
    grids: Bool[np.ndarray, "*lead rows columns"] | Float[np.ndarray, "*lead rows columns"], size: tuple[int, int]
) -> Bool[np.ndarray, "*lead height width"] | Float[np.ndarray, "*lead height width"]:
    """Nearest-neighbour upsampling to ``size`` (height, width): each pixel gets the value of the patch at its
    centre."""
    places = [((np.arange(to) + 0.5) * of / to).astype(int) for to, of in zip(size, grids.shape[-2:], strict=True)]
    return grids[..., places[0][:, None], places[1]]
