"""CRATE, the coding rate reduction transformer (arXiv 2306.01129)."""

from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import ISTA, MSSA, HookPoint, OutputMap, PatchEmbed, PooledStem, SparseStep
from crate_transformer.models.backbone import Backbone
from crate_transformer.models.config import BackboneConfig


@dataclass(frozen=True, kw_only=True)
class CRATEConfig(BackboneConfig):
    """Architecture of a CRATE; ``step_size`` is eta and ``sparsity_weight`` is lambda of the ISTA step.

    Args:
        stem: ``"conv"`` uses convolutions with pooling (``PooledStem``) instead of a linear patch embedding.
        output: the output map of MSSA, see ``layers.MSSA``.
    """

    stem: Literal["patch", "conv"] = "patch"
    head_dim: int | None = None
    output: OutputMap = None
    step_size: float = 0.1
    sparsity_weight: float = 0.1


SIZES = {
    # arXiv 2306.01129, table 1
    "crate_tiny_patch16_224": CRATEConfig(embed_dim=384, depth=12, num_heads=6),
    "crate_small_patch16_224": CRATEConfig(embed_dim=576, depth=12, num_heads=12),
    "crate_base_patch16_224": CRATEConfig(embed_dim=768, depth=12, num_heads=12),
    "crate_large_patch16_224": CRATEConfig(embed_dim=1024, depth=24, num_heads=16),
    # arXiv 2308.16271, whose "small" is narrower (384); its released base model has 6 heads
    "crate_small_patch8_224": CRATEConfig(embed_dim=384, depth=12, num_heads=6, patch_size=8),
    "crate_base_patch8_224": CRATEConfig(embed_dim=768, depth=12, num_heads=12, patch_size=8),
    # our own sizes, for a laptop
    "crate_compact_patch8_64": CRATEConfig(embed_dim=512, depth=7, num_heads=8, patch_size=8, img_size=64),
    "crate_mini_patch8_64": CRATEConfig(embed_dim=320, depth=6, num_heads=5, patch_size=8, img_size=64),
    "crate_tied_mini_patch8_64": CRATEConfig(
        embed_dim=384, depth=6, num_heads=6, patch_size=8, img_size=64, output="tied"
    ),
    "crate_micro_patch4_32": CRATEConfig(embed_dim=128, depth=6, num_heads=4, patch_size=4, img_size=32),
    "crate_micro_conv_patch4_32": CRATEConfig(
        embed_dim=192, depth=6, num_heads=6, patch_size=4, img_size=32, stem="conv"
    ),
    "crate_nano_patch4_16": CRATEConfig(embed_dim=64, depth=2, num_heads=4, patch_size=4, img_size=16),
}


class Block(nn.Module):
    r"""Compress against the subspaces, then sparsify against the dictionary.

    .. math:: Z^{\ell+1/2} = Z^\ell + \mathrm{MSSA}(\mathrm{LN}(Z^\ell)), \qquad
              Z^{\ell+1} = \mathrm{ISTA}(\mathrm{LN}(Z^{\ell+1/2}))

    The hook point ``z_half`` is :math:`Z^{\ell+1/2}`. The second step has no skip connection: ISTA starts at its input.
    """

    attention = "mssa"
    lowers_rate = True
    sparse_code = "ista"

    def __init__(self, config: CRATEConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim)
        self.mssa = MSSA(dim, config.num_heads, head_dim=config.head_dim, output=config.output)
        self.z_half = HookPoint()
        self.norm2 = nn.LayerNorm(dim)
        self.ista: Any = ISTA(dim, step_size=config.step_size, sparsity_weight=config.sparsity_weight)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        z = self.z_half(z + self.mssa(self.norm1(z)))
        return self.ista(self.norm2(z))

    def project(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r""":math:`U_k^\top z` of normalised tokens."""
        return self.mssa.project(tokens)

    @property
    def sparse_step(self) -> SparseStep:
        """The sparse coding problem of the second step."""
        return self.ista

    def fold_(self) -> None:
        """Replace norm and sparsifying step by a norm without scale and shift, one linear map and a ReLU."""
        self.norm2, self.ista = self.ista.folded(self.norm2)


class CRATE(Backbone):
    """The white-box vision transformer: every block is one step on the sparse rate reduction objective."""

    config: CRATEConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, config: CRATEConfig) -> None:
        patch_embed = PooledStem if config.stem == "conv" else PatchEmbed
        super().__init__(
            config,
            patch_embed=patch_embed(config.patch_shape, config.in_chans, config.embed_dim),
            blocks=[Block(config) for _ in range(config.depth)],
        )
