"""A convolutional stem: from images to tokens."""

from itertools import pairwise

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval


class ConvStem(nn.Module):
    """3 x 3 convolutions with stride 2 and batch normalisation, with GELU in between (arXiv 2106.09681).

    The width doubles with each convolution and ends at ``dim``: four convolutions for patches of 16 pixels, three for
    8.

    Raises:
        ValueError: the patch is not a square whose side is a power of two, or ``dim`` cannot be halved often enough.
    """

    def __init__(self, patch_size: tuple[int, int], in_chans: int, dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        side, depth = patch_size[0], patch_size[0].bit_length() - 1
        if patch_size != (2**depth, 2**depth) or side < 2:
            raise ValueError(
                f"patch_size is {patch_size}: a convolutional stem needs a square of 2, 4, 8, 16, ... pixels"
            )
        if dim % (side // 2):
            raise ValueError(f"embed_dim {dim} is not a multiple of {side // 2}, as patches of {side} pixels require")
        widths = [in_chans, *(dim // 2**i for i in reversed(range(depth)))]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1, bias=False)
            for before, after in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch patches dim"]:
        x = self.norms[0](self.convs[0](images))
        for conv, norm in zip(self.convs[1:], self.norms[1:], strict=True):
            x = norm(conv(F.gelu(x)))
        return rearrange(x, "b d h w -> b (h w) d")

    def resize_(self, patch_size: tuple[int, int]) -> None:
        """Check the patch size, which cannot change because it determines the number of convolutions.

        Raises:
            ValueError: the patch size differs.
        """
        if patch_size != self.patch_size:
            raise ValueError(f"a convolutional stem for patches of {self.patch_size} cannot change to {patch_size}")

    def fold_(self) -> None:
        """Fold the batch norms into the convolutions."""
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            self.convs[i], self.norms[i] = fuse_conv_bn_eval(conv, norm), nn.Identity()
