"""Means of tokens over the cells of a coarse grid: the initial representatives of CBSA."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

SIDE = 8
"""Cells per row and per column."""
Pooling = Literal["plain", "shifted"]


def grid_means(
    w: Float[Tensor, "batch heads tokens head_dim"], grid: tuple[int, int] | None, pooling: Pooling
) -> Float[Tensor, "batch heads cells head_dim"]:
    """Means over 8 x 8 cells of the patches' grid, equal to ``nn.AdaptiveAvgPool2d(8)``.

    PyTorch's own pooling is not used: its backward pass on a GPU is not deterministic, and ONNX has it for fixed sizes
    only.

    Args:
        grid: rows and columns of the patches, which are the last tokens; default: a square after one class token.
        pooling: ``"shifted"`` averages all tokens but the last as if they were the grid, class token first, as the
            released code of CBT does; ``"plain"`` averages the patches.

    Raises:
        ValueError: no grid is given and the patches do not form a square.
    """
    rows, columns = grid or _square(w.shape[2] - 1)
    end = w.shape[2] - int(pooling == "shifted")  # a bool cannot be traced by PyTorch 2.6
    patches = w[:, :, end - rows * columns : end].unflatten(2, (rows, columns))
    by_row = torch.einsum("ir, bhrcp -> bhicp", _cell_means(rows, w), patches)
    return torch.einsum("jc, bhicp -> bhijp", _cell_means(columns, w), by_row).flatten(2, 3)


def _cell_means(length: int, like: Tensor) -> Float[Tensor, "cells length"]:
    """The means of 8 cells of a row of this length, as a matrix; cells overlap or repeat if 8 does not divide it."""
    cell = torch.arange(SIDE, device=like.device)[:, None]
    entry = torch.arange(length, device=like.device)
    first, after = cell * length // SIDE, ((cell + 1) * length + SIDE - 1) // SIDE
    return ((entry >= first) & (entry < after)).to(like.dtype) / (after - first)


def _square(patches: int) -> tuple[int, int]:
    side = math.isqrt(patches)
    if side * side != patches or not patches:
        raise ValueError(f"{patches} patches after a class token do not form a square: give grid=(rows, columns)")
    return side, side
