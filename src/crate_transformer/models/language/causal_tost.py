"""ToST for language (arXiv 2412.17810)."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import MLP, CausalTSSA, HookPoint, LayerScale, fold_norm, fold_scale
from crate_transformer.models.language.config import LanguageConfig
from crate_transformer.models.language.language_model import LanguageModel


@dataclass(frozen=True, kw_only=True)
class CausalToSTConfig(LanguageConfig):
    """Architecture of a ToST for language; ``layer_scale`` is the initial scale of every residual branch."""

    mlp_ratio: float = 4.0
    layer_scale: float = 1e-5


SIZES = {
    "tost_lm_base": CausalToSTConfig(embed_dim=768, depth=12, num_heads=12),
    "tost_lm_medium": CausalToSTConfig(embed_dim=1024, depth=24, num_heads=16),
    "tost_lm_large": CausalToSTConfig(embed_dim=1280, depth=36, num_heads=20),
    "tost_lm_micro": CausalToSTConfig(
        vocab_size=256, context_length=256, embed_dim=128, depth=6, num_heads=4, layer_scale=0.1
    ),
}


class Block(nn.Module):
    r"""Compress by the statistics of the tokens so far, then apply an MLP.

    .. math:: Z^{\ell+1/2} = Z^\ell + \gamma_1 \odot \mathrm{TSSA}(\mathrm{LN}(Z^\ell)), \qquad
              Z^{\ell+1} = Z^{\ell+1/2} + \gamma_2 \odot \mathrm{MLP}(\mathrm{LN}(Z^{\ell+1/2}))

    The hook point ``z_half`` is :math:`Z^{\ell+1/2}`.
    """

    def __init__(self, config: CausalToSTConfig) -> None:
        super().__init__()
        dim, bias = config.embed_dim, config.bias
        self.norm1 = nn.LayerNorm(dim, bias=bias)
        self.tssa = CausalTSSA(dim, config.num_heads, config.context_length, bias=bias)
        self.scale1: Any = LayerScale(dim, config.layer_scale)
        self.z_half = HookPoint()
        self.norm2 = nn.LayerNorm(dim, bias=bias)
        self.mlp = MLP(dim, round(dim * config.mlp_ratio), bias=bias)
        self.scale2: Any = LayerScale(dim, config.layer_scale)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        z = self.z_half(z + self.scale1(self.tssa(self.norm1(z))))
        return z + self.scale2(self.mlp(self.norm2(z)))

    def fold_(self) -> None:
        """Fold the affine parts of the norms and the scales of both branches into the linear maps."""
        self.norm1, self.tssa.subspaces = fold_norm(self.norm1, self.tssa.subspaces)
        self.tssa.out, self.scale1 = fold_scale(self.tssa.out, self.scale1)
        self.norm2, self.mlp.fc1 = fold_norm(self.norm2, self.mlp.fc1)
        self.mlp.fc2, self.scale2 = fold_scale(self.mlp.fc2, self.scale2)


class CausalToST(LanguageModel):
    """The token statistics transformer as a language model, linear in the number of tokens."""

    def __init__(self, config: CausalToSTConfig) -> None:
        super().__init__(config, blocks=[Block(config) for _ in range(config.depth)])

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are matrices by shape but not linear maps."""
        return {"pos_embed", *(f"blocks.{layer}.tssa.denominator_bias" for layer in range(len(self.blocks)))}
