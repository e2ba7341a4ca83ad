"""The standard vision transformer, the baseline for CRATE (arXiv 2010.11929)."""

from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import (
    MLP,
    AgentAttention,
    Attention,
    ConvPatchEmbed,
    HookPoint,
    LayerScale,
    PooledStem,
    fold_norm,
    fold_scale,
)
from crate_transformer.models.backbone import Backbone
from crate_transformer.models.config import BackboneConfig


@dataclass(frozen=True, kw_only=True)
class ViTConfig(BackboneConfig):
    """Architecture of a ViT.

    Args:
        stem: ``"conv"`` uses convolutions with pooling (``PooledStem``) instead of a linear patch embedding.
        attention: ``"agent"`` goes through 64 representatives, in time linear in the tokens (``AgentAttention``).
        layer_scale: initial scale of both residual branches, as in DINOv2; 0 for none.
        norm_eps: epsilon of all norms.
    """

    stem: Literal["patch", "conv"] = "patch"
    attention: Literal["softmax", "agent"] = "softmax"
    mlp_ratio: float = 4.0
    layer_scale: float = 0.0
    norm_eps: float = 1e-6


SIZES = {
    "vit_tiny_patch16_224": ViTConfig(embed_dim=192, depth=12, num_heads=3),
    "vit_small_patch16_224": ViTConfig(embed_dim=384, depth=12, num_heads=6),
    "vit_base_patch16_224": ViTConfig(embed_dim=768, depth=12, num_heads=12),
    "vit_large_patch16_224": ViTConfig(embed_dim=1024, depth=24, num_heads=16),
    # as many parameters as the CRATE with the same name
    "vit_mini_patch8_64": ViTConfig(embed_dim=160, depth=6, num_heads=5, patch_size=8, img_size=64),
    "vit_micro_patch4_32": ViTConfig(embed_dim=64, depth=6, num_heads=4, patch_size=4, img_size=32),
    "vit_micro_conv_patch4_32": ViTConfig(embed_dim=104, depth=6, num_heads=4, patch_size=4, img_size=32, stem="conv"),
}


class Block(nn.Module):
    r""":math:`Z^{\ell+1/2} = Z^\ell + \mathrm{MSA}(\mathrm{LN}(Z^\ell)),\; Z^{\ell+1} = Z^{\ell+1/2} +
    \mathrm{MLP}(\mathrm{LN}(Z^{\ell+1/2}))`; the hook point ``z_half`` is :math:`Z^{\ell+1/2}`. With
    ``layer_scale`` both branches are scaled per channel (``LayerScale``)."""

    attention = "attn"
    lowers_rate = False
    sparse_code = None
    sparse_step = None

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim, eps=config.norm_eps)
        attention = AgentAttention if config.attention == "agent" else Attention
        self.attn = attention(dim, config.num_heads)
        scale = config.layer_scale
        self.scale1, self.scale2 = (LayerScale(dim, scale) if scale else nn.Identity() for _ in range(2))
        self.z_half = HookPoint()
        self.norm2 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.mlp = MLP(dim, int(dim * config.mlp_ratio))

    def forward(self, z: Float[Tensor, "batch tokens dim"], **context: object) -> Float[Tensor, "batch tokens dim"]:
        z = self.z_half(z + self.scale1(self.attn(self.norm1(z), **context)))
        return z + self.scale2(self.mlp(self.norm2(z)))

    def project(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r"""The keys of normalised tokens."""
        return self.attn.project(tokens)

    def fold_(self) -> None:
        """Fold the affine parts of both norms, and the scales, into the linear maps."""
        self.norm1, self.attn.qkv = fold_norm(self.norm1, self.attn.qkv)
        self.norm2, self.mlp.fc1 = fold_norm(self.norm2, self.mlp.fc1)
        if isinstance(self.scale1, LayerScale) and isinstance(self.scale2, LayerScale):
            self.attn.out, self.scale1 = fold_scale(self.attn.out, self.scale1)
            self.mlp.fc2, self.scale2 = fold_scale(self.mlp.fc2, self.scale2)


class ViT(Backbone):
    """Vision transformer with the same interface as ``CRATE``."""

    config: ViTConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, config: ViTConfig) -> None:
        patch_embed = PooledStem if config.stem == "conv" else ConvPatchEmbed
        super().__init__(
            config,
            patch_embed=patch_embed(config.patch_shape, config.in_chans, config.embed_dim),
            blocks=[Block(config) for _ in range(config.depth)],
            eps=config.norm_eps,
        )
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def context(self, z: Float[Tensor, "batch tokens dim"], height: int, width: int) -> dict[str, Any]:
        """The grid of the patches, where attention needs it."""
        return {"grid": self.grid_size(height, width)} if self.config.attention == "agent" else {}
