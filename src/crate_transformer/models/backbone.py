"""The common part of all vision models: patch embedding, class token, positions, pooling, linear head."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from crate_transformer.layers import draw, drop_path, resample_position, share_weights
from crate_transformer.models.block import Block
from crate_transformer.models.config import BackboneConfig
from crate_transformer.models.features import Features
from crate_transformer.models.foldable import Foldable
from crate_transformer.models.preprocessing import Preprocessing


class Backbone(Features, Foldable):
    """Images to logits through a stack of blocks; attributes and methods have timm's names and meanings.

    Images may have any size that is a multiple of the patch size: the position table is resampled. As in the released
    CRATE code, the mean of ``global_pool="avg"`` includes the class token, and the final norm follows the pooling. The
    model also stores what belongs to its weights: ``preprocessing``, ``class_names`` (``None`` if unknown) and
    ``exclusive_classes``: true if an image has exactly one class (softmax), false for multi-label models (sigmoid).
    """

    patch_embed: Any
    provenance: Any
    """Where the weights come from (``checkpoints.Provenance``); only models that were loaded have it."""
    num_prefix_tokens = 1
    """Number of tokens before the patches inside the blocks: the class token and the register tokens."""
    not_in_logits: tuple[str, ...] = ()
    """Names of parameters and modules that ``forward`` does not use, such as a decoder."""
    not_in_patches: tuple[str, ...] = ()
    """Names of parameters and modules that patch tokens do not depend on, other than ``not_in_logits``."""
    grad_checkpointing = False
    sample_seeds: Int64[Tensor, " batch"] | None = None
    """Random seeds for each image in training (stochastic depth, dropout); ``None`` uses PyTorch's generator. They
    belong to one batch and are not copied or saved."""

    def __init__(
        self, config: BackboneConfig, *, patch_embed: nn.Module, blocks: Sequence[nn.Module], eps: float = 1e-5
    ):
        super().__init__()
        self.config = config
        self.img_size = config.image_shape
        self.patch_size = config.patch_shape
        self.in_chans = config.in_chans
        self.embed_dim = self.num_features = self.head_hidden_size = config.embed_dim
        self.num_classes = config.num_classes
        self.num_reg_tokens = config.reg_tokens
        self.num_prefix_tokens = type(self).num_prefix_tokens + config.reg_tokens
        self.preprocessing = Preprocessing(img_size=self.img_size)
        self.class_names: tuple[str, ...] | None = None
        self.exclusive_classes = True
        self.patch_embed = patch_embed
        self._make_tokens()
        self.blocks = cast(Sequence[Block], nn.ModuleList(blocks))
        for number, block in enumerate(blocks):
            if number % config.recurrences:
                share_weights(block, blocks[number - number % config.recurrences])
        self.norm = nn.LayerNorm(config.embed_dim, eps=eps)
        self.head_drop = nn.Dropout(config.drop_rate)
        self.head = nn.Linear(config.embed_dim, config.num_classes) if config.num_classes else nn.Identity()

    def _make_tokens(self) -> None:
        """Create class token, registers and position table."""
        rows, columns = self.grid_size(*self.img_size)
        self.cls_token = nn.Parameter(torch.randn(1, 1, self.embed_dim))
        if self.num_reg_tokens:
            self.reg_token = nn.Parameter(torch.randn(1, self.num_reg_tokens, self.embed_dim))
        self.pos_embed = nn.Parameter(torch.randn(1, rows * columns + self.num_prefix_tokens, self.embed_dim))

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches for an image of this size in pixels."""
        return height // self.patch_size[0], width // self.patch_size[1]

    def embed(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch tokens dim"]:
        """The input tokens of the first block, class token first."""
        height, width = images.shape[-2:]
        check_image_size(height, width, self.patch_size, None if self.config.dynamic_img_size else self.img_size)
        patches = self.patch_embed(images)
        prefix = [token.expand(patches.shape[0], -1, -1) for token in self.prefix_tokens()]
        z = torch.cat([*prefix, patches], dim=1)
        return z + self.position(height, width).to(z.dtype)

    def prefix_tokens(self) -> list[Tensor]:
        """The tokens before the patches: class token, registers."""
        return [self.cls_token, self.reg_token] if self.num_reg_tokens else [self.cls_token]

    def position(self, height: int, width: int) -> Float[Tensor, "1 tokens dim"]:
        """Position embeddings of the prefix tokens and of the patches of an image of this size in pixels."""
        grids = self.grid_size(*self.img_size), self.grid_size(height, width)
        return resample_position(self.pos_embed, *grids, self.num_prefix_tokens)

    def context(self, z: Float[Tensor, "batch tokens dim"], height: int, width: int) -> dict[str, Any]:
        """Keyword arguments for every block, from the tokens of ``embed`` and the image's size; none by default."""
        return {}

    def run_block(
        self, layer: int, z: Float[Tensor, "batch tokens dim"], **context: Any
    ) -> Float[Tensor, "batch tokens dim"]:
        """One block, with stochastic depth and gradient checkpointing if enabled."""
        block = self.blocks[layer]
        save_memory = self.grad_checkpointing and torch.is_grad_enabled()
        after = checkpoint(block, z, use_reentrant=False, **context) if save_memory else block(z, **context)
        if not (self.training and self.config.drop_path_rate):
            return after
        numbers = None if self.sample_seeds is None else draw(self.sample_seeds, layer + 1)[:, layer]
        return drop_path(z, after, self.config.drop_path_rate * layer / max(1, len(self.blocks) - 1), numbers)

    def after_blocks(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch all_tokens dim"]:
        """Further layers between the blocks and the final norm; none by default."""
        return z

    def forward_features(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Tokens after the last block, class token first, before the norm."""
        height, width = images.shape[-2:]
        z = self.embed(images)
        context = self.context(z, height, width)
        for layer in range(len(self.blocks)):
            z = self.run_block(layer, z, **context)
        return self.after_blocks(z)

    def forward_head(self, z: Float[Tensor, "batch tokens dim"], pre_logits: bool = False) -> Tensor:
        """Pool the tokens, normalise, classify; ``pre_logits`` omits the last step.

        With ``global_pool=""`` the result is all tokens, normalised.
        """
        if not self.config.global_pool:
            return self.norm(z)
        pooled = self._drop_features(self.norm(self.pool(z)))
        return pooled if pre_logits else self.head(pooled)

    def _drop_features(self, pooled: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """Dropout before the head."""
        rate = self.head_drop.p
        if self.sample_seeds is None or not (self.training and rate):
            return self.head_drop(pooled)
        depth = len(self.blocks)
        numbers = draw(self.sample_seeds, depth + pooled.shape[1])[:, depth:]
        return pooled * (numbers >= rate) / (1 - rate)

    def pool(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch dim"]:
        """The class token, or the mean of all tokens but the registers."""
        if self.config.global_pool == "token":
            return z[:, 0]
        return torch.cat([z[:, :1], z[:, 1 + self.num_reg_tokens :]], dim=1).mean(dim=1)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Tensor:
        """Logits ``(batch, classes)``; without classes the pooled features ``(batch, dim)``."""
        return self.forward_head(self.forward_features(images))

    def patch_grid(
        self, per_patch: Float[Tensor, "*lead patches"], height: int, width: int
    ) -> Float[Tensor, "*lead rows columns"]:
        """Arrange one value per patch on the grid, for an image of ``height`` x ``width`` pixels."""
        return rearrange(per_patch, "... (r c) -> ... r c", r=self.grid_size(height, width)[0])

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "sample_seeds"}

    def get_classifier(self) -> nn.Module:
        """The classification head."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: Literal["token", "avg", ""] | None = None) -> None:
        """Replace the head by a new one for this many classes, without class names."""
        pool = self.config.global_pool if global_pool is None else global_pool
        self.config = replace(self.config, num_classes=num_classes, global_pool=pool)
        self.num_classes, self.class_names = num_classes, None
        self.head = nn.Linear(self.embed_dim, num_classes) if num_classes else nn.Identity()
        self.head.to(next(self.parameters())).train(self.training)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of storing its activations."""
        self.grad_checkpointing = enable

    def set_input_size(
        self, img_size: int | tuple[int, int] | None = None, patch_size: int | tuple[int, int] | None = None
    ) -> None:
        """Change the native sizes: the position table and the patch embedding are resampled once.

        Raises:
            ValueError: ``img_size`` is not a multiple of ``patch_size``, or the patch embedding has a fixed size.
        """
        config = replace(
            self.config, img_size=img_size or self.config.img_size, patch_size=patch_size or self.config.patch_size
        )
        before = self.grid_size(*self.img_size)
        if config.patch_shape != self.patch_size:
            self._resize_patches(config.patch_shape)
        self.config, self.img_size, self.patch_size = config, config.image_shape, config.patch_shape
        self.preprocessing = replace(self.preprocessing, img_size=self.img_size)
        self._resize_position(before, self.grid_size(*self.img_size))

    def _resize_patches(self, patch_size: tuple[int, int]) -> None:
        """Resize everything that depends on the patch size."""
        self.patch_embed.resize_(patch_size)

    def _resize_position(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        """Resample the position table from one grid to another."""
        table = resample_position(self.pos_embed.detach(), before, after, self.num_prefix_tokens)
        self.pos_embed = nn.Parameter(table.clone(), requires_grad=self.pos_embed.requires_grad)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are matrices by shape but not linear maps."""
        return {"pos_embed", "cls_token", "reg_token"} & {name for name, _ in self.named_parameters()}


def check_image_size(height: int, width: int, patch_size: tuple[int, int], fixed: tuple[int, int] | None) -> None:
    """Check the size of images in pixels.

    Raises:
        ValueError: it is no multiple of the patch size, or not the fixed one.
    """
    if height % patch_size[0] or width % patch_size[1] or not height or not width:
        raise ValueError(f"image size {height} x {width} is not a multiple of the patch size {patch_size}")
    if fixed and (height, width) != fixed:
        raise ValueError(f"image size {height} x {width} is not img_size {fixed}: set dynamic_img_size=True")
