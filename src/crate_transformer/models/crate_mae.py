"""CRATE-MAE, a white-box masked autoencoder (arXiv 2404.02446)."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from crate_transformer.layers import (
    MSSA,
    ConvPatchEmbed,
    HookPoint,
    Synthesis,
    fold_norm,
    patchify,
    resample_position,
    resize_flat,
    sincos_position,
    unpatchify,
)
from crate_transformer.models.backbone import Backbone
from crate_transformer.models.crate import Block, CRATEConfig


@dataclass(frozen=True, kw_only=True)
class CRATEMAEConfig(CRATEConfig):
    """Architecture of a CRATE-MAE; by default without classes and with lambda 0.5, as in the released code.

    Args:
        decoder_depth: number of decoder blocks; default: as many as in the encoder.
        normalise_pixels: the decoder predicts the pixels of each patch minus their mean, divided by their standard
            deviation.
    """

    num_classes: int = 0
    sparsity_weight: float = 0.5
    decoder_depth: int | None = None
    normalise_pixels: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stem != "patch":
            raise ValueError(f"stem is {self.stem!r}: a CRATE-MAE predicts whole patches and needs 'patch'")
        if self.embed_dim % 4:
            raise ValueError(f"embed_dim is {self.embed_dim}: sin-cos positions need a multiple of 4")


SIZES = {
    # arXiv 2404.02446 trains small and base; tiny and large use CRATE's sizes
    "crate_mae_tiny_patch16_224": CRATEMAEConfig(embed_dim=384, depth=12, num_heads=6),
    "crate_mae_small_patch16_224": CRATEMAEConfig(embed_dim=576, depth=12, num_heads=12),
    "crate_mae_base_patch16_224": CRATEMAEConfig(embed_dim=768, depth=12, num_heads=12),
    "crate_mae_large_patch16_224": CRATEMAEConfig(embed_dim=1024, depth=24, num_heads=16),
    # our own sizes, for a laptop: the encoders have the size of the CRATE with the same name
    "crate_mae_mini_patch8_64": CRATEMAEConfig(embed_dim=320, depth=6, num_heads=5, patch_size=8, img_size=64),
    "crate_mae_micro_patch4_32": CRATEMAEConfig(embed_dim=128, depth=6, num_heads=4, patch_size=4, img_size=32),
}


class DecoderBlock(nn.Module):
    r"""Synthesise from the dictionary, then step away from the subspaces: the inverse of an encoder block.

    .. math:: Z^{\ell+1/2} = \tilde D\,\mathrm{LN}(Z^\ell), \qquad
              Z^{\ell+1} = Z^{\ell+1/2} - \mathrm{MSSA}(\mathrm{LN}(Z^{\ell+1/2}))
    """

    def __init__(self, config: CRATEMAEConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim)
        self.synthesis: Any = Synthesis(dim)
        self.z_half = HookPoint()
        self.norm2 = nn.LayerNorm(dim)
        self.mssa = MSSA(dim, config.num_heads, head_dim=config.head_dim)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        z = self.z_half(self.synthesis(self.norm1(z)))
        return z - self.mssa(self.norm2(z))

    def fold_(self) -> None:
        """Fold the affine part of the norm into the synthesis."""
        self.norm1, self.synthesis = fold_norm(self.norm1, self.synthesis.folded())


class Decoder(nn.Module):
    """Blocks, a norm and a linear map from tokens to the pixels of their patches."""

    def __init__(self, config: CRATEMAEConfig) -> None:
        super().__init__()
        rows, columns = config.patch_shape
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder_depth or config.depth))
        self.norm = nn.LayerNorm(config.embed_dim, eps=1e-6)
        self.pixels = nn.Linear(config.embed_dim, rows * columns * config.in_chans)

    def forward(
        self, z: Float[Tensor, "batch tokens dim"], save_memory: bool = False
    ) -> Float[Tensor, "batch tokens values"]:
        for block in self.blocks:
            z = checkpoint(block, z, use_reentrant=False) if save_memory else block(z)
        return self.pixels(self.norm(z))


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The result of ``CRATEMAE.reconstruct``."""

    loss: Float[Tensor, ""]
    """Mean squared error over the masked patches."""
    patches: Float[Tensor, "batch patches values"]
    """The prediction: pixels in (row, column, channel) order, normalised if ``normalise_pixels``."""
    mask: Bool[Tensor, "batch patches"]
    """True for masked patches."""
    images: Float[Tensor, "batch channels height width"]
    patch_size: tuple[int, int]
    normalise_pixels: bool = False

    def pictures(self) -> Float[Tensor, "batch channels height width"]:
        """The images with the prediction in place of masked patches.

        Normalised predictions are rescaled with the true mean and standard deviation, which are not predicted.
        """
        given, predicted = patchify(self.images, self.patch_size), self.patches.detach()
        if self.normalise_pixels:
            mean, spread = mean_and_spread(given)
            predicted = predicted * spread + mean
        rows, columns = (side // patch for side, patch in zip(self.images.shape[-2:], self.patch_size, strict=True))
        return unpatchify(torch.where(self.mask[..., None], predicted, given), self.patch_size, (rows, columns))


class CRATEMAE(Backbone):
    """CRATE blocks trained to reconstruct masked patches; the encoder alone is an ordinary backbone.

    As in the released code, masked patches are replaced by mask tokens before the encoder, which processes all
    positions, and the sine-cosine position table is fixed.
    """

    config: CRATEMAEConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    not_in_logits = ("mask_token", "decoder")

    def __init__(self, config: CRATEMAEConfig) -> None:
        super().__init__(
            config,
            patch_embed=ConvPatchEmbed(config.patch_shape, config.in_chans, config.embed_dim),
            blocks=[Block(config) for _ in range(config.depth)],
            eps=1e-6,
        )
        self.decoder = Decoder(config)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.detach().flatten(1))
        for token in (self.cls_token, self.mask_token):
            nn.init.normal_(token, std=0.02)

    def _make_tokens(self) -> None:
        super()._make_tokens()
        self.mask_token = nn.Parameter(torch.empty(1, 1, self.embed_dim))
        del self.pos_embed
        table = sincos_position(self.grid_size(*self.img_size), self.embed_dim, self.num_prefix_tokens)
        self.register_buffer("pos_embed", table)

    def _resize_position(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        self.pos_embed = resample_position(self.pos_embed, before, after, self.num_prefix_tokens).clone()

    @torch.no_grad()
    def _resize_patches(self, patch_size: tuple[int, int]) -> None:
        pixels, before = self.decoder.pixels, self.patch_size
        resized = resize_flat(torch.cat([pixels.weight, pixels.bias[:, None]], dim=1).T, before, patch_size)
        self.decoder.pixels = nn.Linear(self.embed_dim, resized.shape[1]).to(resized)
        self.decoder.pixels.weight.copy_(resized[:-1].T)
        self.decoder.pixels.bias.copy_(resized[-1])
        super()._resize_patches(patch_size)

    def no_weight_decay(self) -> set[str]:
        return super().no_weight_decay() | {"mask_token"}

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        images: Float[Tensor, "batch channels height width"],
        *,
        mask_ratio: float | None = None,
        noise: Float[Tensor, "batch patches"] | None = None,
    ) -> Tensor | Reconstruction:
        """Logits ``(batch, classes)``; with ``mask_ratio`` what ``reconstruct`` returns, as wrappers call only this."""
        return super().forward(images) if mask_ratio is None else self.reconstruct(images, mask_ratio, noise)

    def reconstruct(
        self,
        images: Float[Tensor, "batch channels height width"],
        mask_ratio: float = 0.75,
        noise: Float[Tensor, "batch patches"] | None = None,
    ) -> Reconstruction:
        """Mask random patches and predict their pixels.

        Args:
            mask_ratio: fraction of the patches to mask, at least one.
            noise: the patches with the smallest values stay visible; default: uniform random numbers.

        Raises:
            ValueError: ``mask_ratio`` is not above 0 and at most 1, or ``noise`` has a wrong shape.
        """
        position = self.position(*images.shape[-2:])[:, self.num_prefix_tokens :]
        z = self.embed(images)
        prefix, patches = z[:, : self.num_prefix_tokens], z[:, self.num_prefix_tokens :]
        mask = random_mask(patches, mask_ratio, noise)
        z = torch.cat([prefix, torch.where(mask[..., None], self.mask_token + position, patches)], dim=1)
        for layer in range(len(self.blocks)):
            z = self.run_block(layer, z)
        decoded = self.decoder(self.norm(z), self.grad_checkpointing and torch.is_grad_enabled())
        predicted = decoded[:, self.num_prefix_tokens :]
        target = patchify(images, self.patch_size)
        if self.config.normalise_pixels:
            mean, spread = mean_and_spread(target)
            target = (target - mean) / spread
        return Reconstruction(
            loss=((predicted - target).square().mean(dim=2) * mask).sum() / mask.sum(),
            patches=predicted,
            mask=mask,
            images=images,
            patch_size=self.patch_size,
            normalise_pixels=self.config.normalise_pixels,
        )


def random_mask(
    patches: Float[Tensor, "batch patches dim"], mask_ratio: float, noise: Tensor | None = None
) -> Bool[Tensor, "batch patches"]:
    """True for masked patches, at least one; the ``int(patches * (1 - ratio))`` with the smallest noise are visible."""
    batch, num_patches, _ = patches.shape
    if not 0 < mask_ratio <= 1:
        raise ValueError(f"mask_ratio is {mask_ratio}: it must be above 0 (nothing masked) and at most 1 (everything)")
    if noise is None:
        noise = torch.rand(batch, num_patches, device=patches.device)
    if noise.shape != (batch, num_patches):
        raise ValueError(f"noise has shape {tuple(noise.shape)}: give one number per patch, {(batch, num_patches)}")
    ranks = noise.argsort(dim=1).argsort(dim=1)
    return ranks >= min(int(num_patches * (1 - mask_ratio)), num_patches - 1)


def mean_and_spread(
    patches: Float[Tensor, "batch patches values"],
) -> tuple[Float[Tensor, "batch patches 1"], Float[Tensor, "batch patches 1"]]:
    """Mean and unbiased standard deviation of the pixels of each patch; the latter is never zero."""
    return patches.mean(dim=2, keepdim=True), (patches.var(dim=2, keepdim=True) + 1e-6).sqrt()
