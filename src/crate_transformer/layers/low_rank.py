"""Changes of low rank to the weights of a layer."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LowRank(nn.Module):
    r""":math:`\frac{a}{r} B A`, a low-rank change of a square matrix (arXiv 2106.09685), with random initial factors.

    Args:
        scale: :math:`a`.
    """

    def __init__(self, dim: int, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale / rank
        self.left = nn.Parameter(0.02 * torch.randn(dim, rank))
        self.right = nn.Parameter(0.02 * torch.randn(rank, dim))

    def forward(self) -> Float[Tensor, "dim dim"]:
        return self.scale * self.left @ self.right
