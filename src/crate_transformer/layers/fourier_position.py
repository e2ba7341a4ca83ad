"""Position embeddings from Fourier features, for any grid."""

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


class FourierPosition(nn.Module):
    r"""A learned linear map of sines and cosines of the row and the column.

    Row :math:`r = 1, \dots, h` gives :math:`\sin(\omega_j 2\pi r / h)` and :math:`\cos(\omega_j 2\pi r / h)` with
    :math:`\omega_j = 10000^{-2j/m}`, :math:`j = 0, \dots, m/2 - 1`; columns likewise (arXiv 2106.09681). The features
    are always computed in float32, as in the released code.

    Args:
        num_waves: :math:`m`, number of features per row and per column.
    """

    def __init__(self, dim: int, num_waves: int = 32) -> None:
        super().__init__()
        self.num_waves = num_waves
        self.proj = nn.Conv2d(2 * num_waves, dim, kernel_size=1)

    def features(self, rows: int, columns: int) -> Float[Tensor, "1 features rows columns"]:
        """The features before the linear map: those of the row, then of the column, sine and cosine interleaved."""
        device = self.proj.weight.device
        period = 10000 ** (2 * torch.arange(self.num_waves // 2, dtype=torch.float32, device=device) / self.num_waves)

        def axis(length: int) -> Float[Tensor, "length features"]:
            turn = torch.arange(1, length + 1, dtype=torch.float32, device=device) / (length + 1e-6) * (2 * math.pi)
            angle = turn[:, None] / period
            return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)

        by_row = axis(rows)[:, None].expand(-1, columns, -1)
        by_column = axis(columns)[None].expand(rows, -1, -1)
        return rearrange(torch.cat([by_row, by_column], dim=-1), "h w c -> 1 c h w")

    def forward(self, rows: int, columns: int) -> Float[Tensor, "1 patches dim"]:
        table = self.proj(self.features(rows, columns).to(self.proj.weight.dtype))
        return rearrange(table, "1 d h w -> 1 (h w) d")
