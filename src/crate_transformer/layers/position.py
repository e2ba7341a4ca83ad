"""Position embeddings for other image sizes."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from crate_transformer.layers.full_precision import wide_dtype


def resample_position(
    position: Float[Tensor, "1 tokens dim"],
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    num_prefix_tokens: int = 1,
) -> Float[Tensor, "1 new_tokens dim"]:
    """Resample a learned position table from one grid of patches (rows, columns) to another, bicubically.

    The embeddings of prefix tokens (class token, registers) are kept; at the native size the table is unchanged.
    """
    if all(isinstance(side, int) for side in new_grid) and old_grid == new_grid:  # sizes are symbolic during export
        return position
    prefix, patches = position[:, :num_prefix_tokens], position[:, num_prefix_tokens:]
    image = rearrange(patches, "1 (h w) d -> 1 d h w", h=old_grid[0]).to(wide_dtype(position.dtype))
    image = F.interpolate(image, size=new_grid, mode="bicubic", antialias=True).to(position.dtype)
    return torch.cat([prefix, rearrange(image, "1 d h w -> 1 (h w) d")], dim=1)
