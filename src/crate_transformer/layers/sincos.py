"""Fixed sine-cosine position embeddings."""

import torch
from jaxtyping import Float
from torch import Tensor


def sincos_position(grid: tuple[int, int], dim: int, num_prefix_tokens: int = 1) -> Float[Tensor, "1 tokens {dim}"]:
    r"""Sines and cosines of each patch's column :math:`c` and row :math:`r`; zeros for the prefix tokens.

    .. math:: [\sin c\omega;\ \cos c\omega;\ \sin r\omega;\ \cos r\omega], \qquad
              \omega_i = 10000^{-4i/\mathrm{dim}},\ 0 \le i < \mathrm{dim}/4

    (arXiv 1706.03762, section 3.5, for two coordinates as in arXiv 2111.06377.)

    Args:
        grid: rows and columns of patches.

    Raises:
        ValueError: ``dim`` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"dim {dim} is not a multiple of 4, as sines and cosines of rows and columns require")
    frequencies = 10000 ** -torch.arange(0, 1, 4 / dim, dtype=torch.float64)
    row, column = (torch.arange(length, dtype=torch.float64)[:, None] * frequencies for length in grid)
    row = torch.cat([row.sin(), row.cos()], dim=1)[:, None].expand(-1, grid[1], -1)
    column = torch.cat([column.sin(), column.cos()], dim=1).expand(grid[0], -1, -1)
    patches = torch.cat([column, row], dim=2).flatten(0, 1)
    prefix = patches.new_zeros(num_prefix_tokens, dim)
    return torch.cat([prefix, patches]).to(torch.get_default_dtype())[None]
