"""A convolutional stem with pooling: from images to tokens."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

WIDTH = 64  # of all convolutions but the last


class PooledStem(nn.Module):
    """3 x 3 convolutions without bias, each followed by a ReLU and 3 x 3 max pooling with stride 2 (arXiv 2104.05704).

    Two convolutions for patches of 4 pixels, three for 8. It does not depend on the other images of a batch.

    Raises:
        ValueError: the patch is not a square whose side is a power of two.
    """

    def __init__(self, patch_size: tuple[int, int], in_chans: int, dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        depth = patch_size[0].bit_length() - 1
        if patch_size != (2**depth, 2**depth) or depth < 1:
            raise ValueError(
                f"patch_size is {patch_size}: a convolutional stem needs a square of 2, 4, 8, 16, ... pixels"
            )
        widths = [in_chans, *[WIDTH] * (depth - 1), dim]
        convs = [nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False) for before, after in pairwise(widths)]
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight)
        self.convs = nn.ModuleList(convs)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch patches dim"]:
        x = images.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        for conv in self.convs:
            x = F.max_pool2d(F.relu(conv(x)), kernel_size=3, stride=2, padding=1)
        return rearrange(x, "b d h w -> b (h w) d")

    def resize_(self, patch_size: tuple[int, int]) -> None:
        """Check the patch size, which cannot change because it determines the number of convolutions.

        Raises:
            ValueError: the patch size differs.
        """
        if patch_size != self.patch_size:
            raise ValueError(f"a convolutional stem for patches of {self.patch_size} cannot change to {patch_size}")
