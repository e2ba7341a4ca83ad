"""From images to tokens."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


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


class ConvPatchEmbed(nn.Module):
    """ViT's patch embedding: a convolution whose stride is its kernel size (arXiv 2010.11929, eq. 1)."""

    def __init__(self, patch_size: tuple[int, int], in_chans: int, dim: int, *, bias: bool = True) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_chans, dim, kernel_size=patch_size, stride=patch_size, bias=bias)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch patches dim"]:
        return rearrange(self.proj(images), "b d h w -> b (h w) d")
