"""Masks and pictures that measurements of attention are tried on."""

import torch

SIDE, PATCH, GRID = 32, 4, 8


def squares(count: int, seed: int = 0, size: int = 8) -> torch.Tensor:
    """Masks that hold one square aligned with the grid, anywhere: 4 of 64 patches."""
    generator = torch.Generator().manual_seed(seed)
    corners = PATCH * torch.randint(0, (SIDE - size) // PATCH + 1, (count, 2), generator=generator)
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    for mask, (top, left) in zip(masks, corners.tolist(), strict=True):
        mask[top : top + size, left : left + size] = True
    return masks


def noise(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8)
