"""From images to tokens."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


def resize_kernel(
    kernel: Float[Tensor, "filters channels _ _"], size: tuple[int, int]
) -> Float[Tensor, "filters channels rows columns"]:
    """A kernel for another patch size, by linear interpolation with antialiasing, as in CRATE-alpha's released code
    before fine-tuning with smaller patches."""
    return F.interpolate(kernel, size, mode="bilinear", antialias=True)


def resize_flat(
    values: Float[Tensor, "filters values"], before: tuple[int, int], after: tuple[int, int]
) -> Float[Tensor, "filters new_values"]:
    """``resize_kernel`` for kernels with pixels flattened in (row, column, channel) order."""
    kernel = rearrange(values, "f (r s c) -> f c r s", r=before[0], s=before[1])
    return rearrange(resize_kernel(kernel, after), "f c r s -> f (r s c)")


class PatchEmbed(nn.Module):
    """CRATE's patch embedding: LayerNorm, linear map, LayerNorm on each flattened patch (arXiv 2306.01129, B.1).

    Pixels of a patch are flattened in (row, column, channel) order; tokens run row by row.
    """

    def __init__(self, patch_size: tuple[int, int], in_chans: int, dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        patch_dim = patch_size[0] * patch_size[1] * in_chans
        self.norm_in = nn.LayerNorm(patch_dim)
        self.proj = nn.Linear(patch_dim, dim)
        self.norm_out = nn.LayerNorm(dim)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch patches dim"]:
        rows, columns = self.patch_size
        patches = rearrange(images, "b c (h r) (w s) -> b (h w) (r s c)", r=rows, s=columns)
        return self.norm_out(self.proj(self.norm_in(patches)))

    @torch.no_grad()
    def resize_(self, patch_size: tuple[int, int]) -> None:
        """Change the patch size, see ``resize_kernel``."""
        norm, before = self.norm_in, self.patch_size
        weight = resize_flat(self.proj.weight, before, patch_size)
        self.norm_in = nn.LayerNorm(weight.shape[1], eps=norm.eps).to(weight)
        for new, old in ((self.norm_in.weight, norm.weight), (self.norm_in.bias, norm.bias)):
            new.copy_(resize_flat(old[None], before, patch_size)[0])
        self.proj.weight, self.proj.in_features = nn.Parameter(weight), weight.shape[1]
        self.patch_size = patch_size


class ConvPatchEmbed(nn.Module):
    """ViT's patch embedding: a convolution whose stride is its kernel size (arXiv 2010.11929, eq. 1)."""

    def __init__(self, patch_size: tuple[int, int], in_chans: int, dim: int, *, bias: bool = True) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_chans, dim, kernel_size=patch_size, stride=patch_size, bias=bias)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch patches dim"]:
        return rearrange(self.proj(images), "b d h w -> b (h w) d")

    @torch.no_grad()
    def resize_(self, patch_size: tuple[int, int]) -> None:
        """Change the patch size, see ``resize_kernel``."""
        self.proj.weight = nn.Parameter(resize_kernel(self.proj.weight, patch_size))
        self.proj.kernel_size = self.proj.stride = self.patch_size = patch_size
