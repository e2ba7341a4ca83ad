"""The pipeline around the blocks, the same for every family: patches, class token, positions, pooling, linear head."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import resample_position
from crate_transformer.models.preprocessing import Preprocessing


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """What every family needs to know; sizes in pixels, ``(height, width)`` where two numbers are given."""

    img_size: int | tuple[int, int] = 224
    patch_size: int | tuple[int, int] = 16
    in_chans: int = 3
    num_classes: int = 1000
    global_pool: Literal["token", "avg"] = "token"
    embed_dim: int
    depth: int
    num_heads: int

    def __post_init__(self) -> None:
        (height, width), (rows, columns) = self.image_shape, self.patch_shape
        if min(height, width, rows, columns) < 1:
            raise ValueError(f"img_size {self.img_size} and patch_size {self.patch_size} must be at least 1 pixel")
        if height < rows or width < columns:
            raise ValueError(f"img_size {self.img_size} is smaller than one patch of {rows} x {columns} pixels")
        if height % rows or width % columns:
            raise ValueError(f"img_size {self.img_size} is not a multiple of patch_size {self.patch_size}")
        if self.global_pool not in ("token", "avg"):
            raise ValueError(f"global_pool is {self.global_pool!r}: choose 'token' or 'avg'")
        for name in ("in_chans", "embed_dim", "depth", "num_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.num_classes < 0:
            raise ValueError(f"num_classes is {self.num_classes}: it must be 0 (no head) or more")

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return _pair(self.img_size)

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        return _pair(self.patch_size)


class Backbone(nn.Module):
    """Images to logits through a stack of blocks; attributes and methods have timm's names and meanings.

    Images may have any size that is a multiple of the patch: the position table is resampled. As in the released CRATE
    code, the mean pool of ``global_pool="avg"`` includes the class token, and the final norm follows the pooling.
    What belongs to the weights travels with the model: ``preprocessing`` and ``class_names`` (``None`` if unknown).
    """

    num_prefix_tokens = 1

    def __init__(self, config: BackboneConfig, *, patch_embed: nn.Module, blocks: list[nn.Module], eps: float = 1e-5):
        super().__init__()
        self.config = config
        self.img_size = config.image_shape
        self.patch_size = config.patch_shape
        self.embed_dim = self.num_features = config.embed_dim
        self.num_classes = config.num_classes
        self.preprocessing = Preprocessing(img_size=self.img_size)
        self.class_names: tuple[str, ...] | None = None
        rows, columns = self.grid_size(*self.img_size)
        self.patch_embed = patch_embed
        self.cls_token = nn.Parameter(torch.randn(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.randn(1, rows * columns + self.num_prefix_tokens, config.embed_dim))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(config.embed_dim, eps=eps)
        self.head = nn.Linear(config.embed_dim, config.num_classes) if config.num_classes else nn.Identity()

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches for an image of this size in pixels."""
        return height // self.patch_size[0], width // self.patch_size[1]

    def embed(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch tokens dim"]:
        """Tokens as the first block receives them, class token first."""
        height, width = images.shape[-2:]
        if height % self.patch_size[0] or width % self.patch_size[1] or not height or not width:
            raise ValueError(f"image size {height} x {width} is not a multiple of the patch {self.patch_size}")
        patches = self.patch_embed(images)
        z = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        grids = self.grid_size(*self.img_size), self.grid_size(height, width)
        return z + resample_position(self.pos_embed, *grids, self.num_prefix_tokens)

    def forward_features(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Tokens after the last block, class token first, before the norm."""
        z = self.embed(images)
        for block in self.blocks:
            z = block(z)
        return z

    def forward_head(self, z: Float[Tensor, "batch tokens dim"], pre_logits: bool = False) -> Tensor:
        """Pool the tokens, normalise, classify; ``pre_logits`` leaves the last step out."""
        pooled = self.norm(z.mean(dim=1) if self.config.global_pool == "avg" else z[:, 0])
        return pooled if pre_logits else self.head(pooled)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Tensor:
        """Logits ``(batch, classes)``."""
        return self.forward_head(self.forward_features(images))

    def patch_grid(
        self, per_patch: Float[Tensor, "*lead patches"], height: int, width: int
    ) -> Float[Tensor, "*lead rows columns"]:
        """Arrange one value per patch as the picture's grid, for an image of ``height`` x ``width`` pixels."""
        return rearrange(per_patch, "... (r c) -> ... r c", r=self.grid_size(height, width)[0])

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: Literal["token", "avg"] | None = None) -> None:
        """Put a fresh head for this many classes; the class names of the old one are forgotten."""
        pool = global_pool or self.config.global_pool
        self.config = replace(self.config, num_classes=num_classes, global_pool=pool)
        self.num_classes, self.class_names = num_classes, None
        self.head = nn.Linear(self.embed_dim, num_classes) if num_classes else nn.Identity()
        self.head.to(self.pos_embed.device)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are matrices by shape but no linear maps."""
        return {"pos_embed", "cls_token"}
