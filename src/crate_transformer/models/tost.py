"""ToST, the token statistics transformer, linear in the number of tokens (arXiv 2412.17810)."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import (
    MLP,
    TSSA,
    ClassAttention,
    ConvStem,
    FourierPosition,
    HookPoint,
    LayerScale,
    fold_norm,
    fold_scale,
)
from crate_transformer.models.backbone import Backbone
from crate_transformer.models.config import BackboneConfig


@dataclass(frozen=True, kw_only=True)
class ToSTConfig(BackboneConfig):
    """Architecture of a ToST.

    Args:
        layer_scale: initial scale of every residual branch.
        num_class_layers: number of class attention layers after the blocks.
    """

    mlp_ratio: float = 4.0
    layer_scale: float = 1.0
    num_class_layers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reg_tokens:
            raise ValueError(f"reg_tokens is {self.reg_tokens}: a ToST has only patches in its blocks, so it must be 0")


_PATCH16 = {
    "tost_tiny_patch16_224": ToSTConfig(embed_dim=192, depth=12, num_heads=4),
    "tost_small_patch16_224": ToSTConfig(embed_dim=384, depth=12, num_heads=8),
    "tost_medium_patch16_224": ToSTConfig(embed_dim=512, depth=24, num_heads=8, layer_scale=1e-5),
    "tost_large_patch16_224": ToSTConfig(embed_dim=768, depth=24, num_heads=16, layer_scale=1e-5),
}
SIZES = _PATCH16 | {
    name.replace("patch16", "patch8"): replace(config, patch_size=8) for name, config in _PATCH16.items()
}


class Block(nn.Module):
    r"""Compress by token statistics, then apply an MLP.

    .. math:: Z^{\ell+1/2} = Z^\ell + \gamma_1 \odot \mathrm{TSSA}(\mathrm{LN}(Z^\ell)), \qquad
              Z^{\ell+1} = Z^{\ell+1/2} + \gamma_2 \odot \mathrm{MLP}(\mathrm{LN}(Z^{\ell+1/2}))

    The hook point ``z_half`` is :math:`Z^{\ell+1/2}`.
    """

    attention = "tssa"
    lowers_rate = False
    sparse_code = None
    sparse_step = None

    def __init__(self, config: ToSTConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.tssa = TSSA(dim, config.num_heads)
        self.scale1: Any = LayerScale(dim, config.layer_scale)
        self.z_half = HookPoint()
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, round(dim * config.mlp_ratio))
        self.scale2: Any = LayerScale(dim, config.layer_scale)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        z = self.z_half(z + self.scale1(self.tssa(self.norm1(z))))
        return z + self.scale2(self.mlp(self.norm2(z)))

    def project(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r""":math:`U_k^\top z` of normalised tokens."""
        return self.tssa.project(tokens)

    def fold_(self) -> None:
        """Fold the affine parts of the norms and the scales of both branches into the linear maps."""
        self.norm1, self.tssa.subspaces = fold_norm(self.norm1, self.tssa.subspaces)
        self.tssa.out, self.scale1 = fold_scale(self.tssa.out, self.scale1)
        self.norm2, self.mlp.fc1 = fold_norm(self.norm2, self.mlp.fc1)
        self.mlp.fc2, self.scale2 = fold_scale(self.mlp.fc2, self.scale2)


class ClassLayer(nn.Module):
    """Class attention and an MLP for the class token; patches pass only the two norms, as in XCiT (arXiv 2106.09681),
    from whose released code ToST takes this layer."""

    def __init__(self, config: ToSTConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn: Any = ClassAttention(dim, config.num_heads)
        self.scale1 = LayerScale(dim, config.layer_scale)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, round(dim * config.mlp_ratio))
        self.scale2: Any = LayerScale(dim, config.layer_scale)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        normed = self.norm1(z)
        z = self.norm2(z + self.scale1(torch.cat([self.attn(normed), normed[:, 1:]], dim=1)))
        return z + torch.cat([self.scale2(self.mlp(z[:, :1])), z[:, 1:]], dim=1)

    def fold_(self) -> None:
        """Separate the query map, and fold the scale into the MLP; patches need the other parts unchanged."""
        self.attn = self.attn.folded()
        self.mlp.fc2, self.scale2 = fold_scale(self.mlp.fc2, self.scale2)


class ToST(Backbone):
    """The token statistics transformer: a convolutional stem, Fourier positions, and a class token that is added only
    after the blocks. In training, the batch normalisation of the stem couples the images of a batch."""

    config: ToSTConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    num_prefix_tokens = 0
    not_in_patches = ("cls_token", "class_layers")

    def __init__(self, config: ToSTConfig) -> None:
        super().__init__(
            config,
            patch_embed=ConvStem(config.patch_shape, config.in_chans, config.embed_dim),
            blocks=[Block(config) for _ in range(config.depth)],
            eps=1e-6,
        )
        self.class_layers = nn.ModuleList(ClassLayer(config) for _ in range(config.num_class_layers))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def _make_tokens(self) -> None:
        """Create the class token and the Fourier position embedding."""
        self.cls_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, self.embed_dim), std=0.02))
        self.pos_embed = FourierPosition(self.embed_dim)

    def prefix_tokens(self) -> list[Tensor]:
        """None: the blocks process only patches."""
        return []

    def position(self, height: int, width: int) -> Float[Tensor, "1 tokens dim"]:
        """Position embeddings of the patches of an image of this size in pixels."""
        return self.pos_embed(*self.grid_size(height, width))

    def _resize_position(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        """Fourier positions exist for every grid."""

    def after_blocks(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch all_tokens dim"]:
        """Prepend the class token and apply the class attention layers."""
        z = torch.cat([self.cls_token.expand(z.shape[0], -1, -1), z], dim=1)
        for layer in self.class_layers:
            z = layer(z)
        return z
