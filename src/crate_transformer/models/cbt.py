"""CBT, the contract-and-broadcast transformer, linear in the number of tokens (arXiv 2509.16875)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import CBSA, ISTA, MSSA, TSSA, ConvStem, HookPoint
from crate_transformer.models.backbone import Backbone
from crate_transformer.models.config import BackboneConfig


@dataclass(frozen=True, kw_only=True)
class CBTConfig(BackboneConfig):
    """Architecture of a CBT; ``step_size`` is eta and ``sparsity_weight`` is lambda of the ISTA step.

    Args:
        attention: ``"mssa"`` and ``"tssa"`` are the paper's comparisons on the same stem; ``"mssa+cbsa"`` is its
            CRATE+CBT, with MSSA in the first half of the blocks.
        pooling: the initial representatives of CBSA, see ``layers.grid_means``; the released weights need
            ``"shifted"``.
        head_dim: size of MSSA's heads; default: ``embed_dim // num_heads``.
    """

    attention: Literal["cbsa", "mssa", "tssa", "mssa+cbsa"] = "cbsa"
    pooling: Literal["plain", "shifted"] = "plain"
    head_dim: int | None = None
    step_size: float = 0.1
    sparsity_weight: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_dim is not None and self.attention != "mssa":
            raise ValueError(f"head_dim is {self.head_dim}: only attention 'mssa' has this option, leave it out")

    @property
    def attentions(self) -> list[str]:
        """The attention of each block."""
        if self.attention != "mssa+cbsa":
            return [self.attention] * self.depth
        return ["mssa"] * (self.depth // 2) + ["cbsa"] * (self.depth - self.depth // 2)


SIZES = {
    "cbt_tiny_patch16_224": CBTConfig(embed_dim=192, depth=12, num_heads=3),
    "cbt_small_patch16_224": CBTConfig(embed_dim=384, depth=12, num_heads=6),
    "cbt_base_patch16_224": CBTConfig(embed_dim=768, depth=12, num_heads=12),
    "cbt_large_patch16_224": CBTConfig(embed_dim=1024, depth=24, num_heads=16),
}
SIZES["crate_cbt_small_patch16_224"] = replace(SIZES["cbt_small_patch16_224"], attention="mssa+cbsa")
# ours, for a laptop: about as many parameters as crate_mini_patch8_64
SIZES["cbt_mini_patch8_64"] = CBTConfig(embed_dim=288, depth=6, num_heads=6, patch_size=8, img_size=64)


class Block(nn.Module):
    r"""Compress by contraction and broadcast, then sparsify against the dictionary.

    .. math:: Z^{\ell+1/2} = Z^\ell + \mathrm{CBSA}(\mathrm{LN}(Z^\ell)), \qquad
              Z^{\ell+1} = \mathrm{ISTA}(\mathrm{LN}(Z^{\ell+1/2}))

    The hook point ``z_half`` sees :math:`Z^{\ell+1/2}`.
    """

    attention = "attn"
    sparse_code = "ista"

    def __init__(self, config: CBTConfig, attention: str) -> None:
        super().__init__()
        dim, heads = config.embed_dim, config.num_heads
        self.lowers_rate = attention != "tssa"
        self.norm1 = nn.LayerNorm(dim)
        if attention == "cbsa":
            self.attn = CBSA(dim, heads, pooling=config.pooling)
        elif attention == "mssa":
            self.attn = MSSA(dim, heads, head_dim=config.head_dim, output="free")
        else:
            self.attn = TSSA(dim, heads, bias=False)
        self.z_half = HookPoint()
        self.norm2 = nn.LayerNorm(dim)
        self.ista: Any = ISTA(dim, step_size=config.step_size, sparsity_weight=config.sparsity_weight)

    def forward(
        self, z: Float[Tensor, "batch tokens dim"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        normed = self.norm1(z)
        z = self.z_half(z + (self.attn(normed, grid) if isinstance(self.attn, CBSA) else self.attn(normed)))
        return self.ista(self.norm2(z))

    def project(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r""":math:`U_k^\top z` of normed tokens."""
        return self.attn.project(tokens)

    @property
    def sparse_step(self) -> ISTA:
        """The sparse coding problem of the second step."""
        return self.ista

    def fold_(self) -> None:
        """Replace the sparsifying step by one linear map and a ReLU; both include the norm's affine part."""
        self.norm2, self.ista = self.ista.folded(self.norm2)


class CBT(Backbone):
    """The contract-and-broadcast transformer with a convolutional stem. The stem's batch normalisation makes the output
    of an image depend on its batch in training."""

    config: CBTConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, config: CBTConfig) -> None:
        super().__init__(
            config,
            patch_embed=ConvStem(config.patch_shape, config.in_chans, config.embed_dim),
            blocks=[Block(config, attention) for attention in config.attentions],
        )

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """As for every backbone.

        Raises:
            ValueError: blocks of ``"mssa+cbsa"`` would be removed, so that MSSA would not be in half of them.
        """
        if self.config.attention == "mssa+cbsa" and max(self._chosen_blocks(indices)) < len(self.blocks) - 1:
            raise ValueError("a CBT with attention 'mssa+cbsa' has MSSA in half of its blocks: keep the last block")
        return super().prune_intermediate_layers(indices, prune_norm, prune_head)

    def context(self, z: Float[Tensor, "batch tokens dim"], height: int, width: int) -> dict[str, Any]:
        """The grid of the patches."""
        return {"grid": self.grid_size(height, width)}
