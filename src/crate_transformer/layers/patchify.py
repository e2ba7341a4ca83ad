"""Images as rows of flattened patches, and back."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def patchify(
    images: Float[Tensor, "batch channels height width"], patch_size: tuple[int, int]
) -> Float[Tensor, "batch patches values"]:
    """The pixels of each patch in (row, column, channel) order; patches run row by row."""
    return rearrange(images, "b c (h r) (w s) -> b (h w) (r s c)", r=patch_size[0], s=patch_size[1])


def unpatchify(
    patches: Float[Tensor, "batch patches values"], patch_size: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "batch channels height width"]:
    """The inverse of ``patchify`` for a ``grid`` of rows and columns of patches."""
    return rearrange(
        patches, "b (h w) (r s c) -> b c (h r) (w s)", h=grid[0], w=grid[1], r=patch_size[0], s=patch_size[1]
    )
