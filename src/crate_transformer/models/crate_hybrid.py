"""CRATE-MLP and CRATE-MHSA: a CRATE with one of its two steps replaced by that of a ViT (arXiv 2308.16271, table 2)."""

from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import ISTA, MLP, MSSA, Attention, HookPoint, PatchEmbed, SparseStep, fold_norm
from crate_transformer.models.backbone import Backbone
from crate_transformer.models.config import BackboneConfig


@dataclass(frozen=True, kw_only=True)
class CRATEHybridConfig(BackboneConfig):
    """Architecture of a CRATE-MLP or a CRATE-MHSA.

    Args:
        replaced: ``"ista"`` by an MLP with a skip connection, or ``"mssa"`` by multi-head self-attention.
        mlp_ratio: hidden width of the MLP divided by ``embed_dim``; the paper does not state it.
    """

    replaced: Literal["ista", "mssa"] = "ista"
    mlp_ratio: float = 4.0
    step_size: float = 0.1
    sparsity_weight: float = 0.1


SIZES = {
    "crate_mlp_small_patch8_224": CRATEHybridConfig(embed_dim=384, depth=12, num_heads=6, patch_size=8),
    "crate_mhsa_small_patch8_224": CRATEHybridConfig(
        embed_dim=384, depth=12, num_heads=6, patch_size=8, replaced="mssa"
    ),
    # ours, for a laptop: about as many parameters as crate_mini_patch8_64
    "crate_mlp_mini_patch8_64": CRATEHybridConfig(embed_dim=184, depth=6, num_heads=4, patch_size=8, img_size=64),
    "crate_mhsa_mini_patch8_64": CRATEHybridConfig(
        embed_dim=256, depth=6, num_heads=4, patch_size=8, img_size=64, replaced="mssa"
    ),
}


class MLPBlock(nn.Module):
    r""":math:`Z^{\ell+1/2} = Z^\ell + \mathrm{MSSA}(\mathrm{LN}(Z^\ell)),\; Z^{\ell+1} = Z^{\ell+1/2} +
    \mathrm{MLP}(\mathrm{LN}(Z^{\ell+1/2}))`; the hook point ``z_half`` is :math:`Z^{\ell+1/2}`."""

    attention = "mssa"
    lowers_rate = True
    sparse_code = None
    sparse_step = None

    def __init__(self, config: CRATEHybridConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim)
        self.mssa = MSSA(dim, config.num_heads)
        self.z_half = HookPoint()
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, int(dim * config.mlp_ratio))

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        z = self.z_half(z + self.mssa(self.norm1(z)))
        return z + self.mlp(self.norm2(z))

    def project(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r""":math:`U_k^\top z` of normalised tokens."""
        return self.mssa.project(tokens)

    def fold_(self) -> None:
        """Fold the affine part of the second norm into the MLP."""
        self.norm2, self.mlp.fc1 = fold_norm(self.norm2, self.mlp.fc1)


class MHSABlock(nn.Module):
    r""":math:`Z^{\ell+1/2} = Z^\ell + \mathrm{MHSA}(\mathrm{LN}(Z^\ell)),\; Z^{\ell+1} =
    \mathrm{ISTA}(\mathrm{LN}(Z^{\ell+1/2}))`; the hook point ``z_half`` is :math:`Z^{\ell+1/2}`."""

    attention = "attn"
    lowers_rate = False
    sparse_code = "ista"

    def __init__(self, config: CRATEHybridConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, config.num_heads)
        self.z_half = HookPoint()
        self.norm2 = nn.LayerNorm(dim)
        self.ista: Any = ISTA(dim, step_size=config.step_size, sparsity_weight=config.sparsity_weight)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        z = self.z_half(z + self.attn(self.norm1(z)))
        return self.ista(self.norm2(z))

    def project(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r"""The keys of normalised tokens."""
        return self.attn.project(tokens)

    @property
    def sparse_step(self) -> SparseStep:
        """The sparse coding problem of the second step."""
        return self.ista

    def fold_(self) -> None:
        """Fold the affine parts of both norms; the second step becomes one linear map and a ReLU."""
        self.norm1, self.attn.qkv = fold_norm(self.norm1, self.attn.qkv)
        self.norm2, self.ista = self.ista.folded(self.norm2)


class CRATEHybrid(Backbone):
    """A CRATE with one step of a ViT: the ablation of arXiv 2308.16271, table 2."""

    config: CRATEHybridConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, config: CRATEHybridConfig) -> None:
        block = MLPBlock if config.replaced == "ista" else MHSABlock
        super().__init__(
            config,
            patch_embed=PatchEmbed(config.patch_shape, config.in_chans, config.embed_dim),
            blocks=[block(config) for _ in range(config.depth)],
        )
