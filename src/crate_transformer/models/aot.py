"""AoT, the attention-only transformer (arXiv 2506.03790), from second-hand equations."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import MSSA, Attention, ConvPatchEmbed, HookPoint
from crate_transformer.models.backbone import Backbone
from crate_transformer.models.config import BackboneConfig


@dataclass(frozen=True, kw_only=True)
class AoTConfig(BackboneConfig):
    """Architecture of an AoT.

    Args:
        attention: ``"mhsa"`` has separate queries, keys, values and output map.
        step_size: eta.
        norm: whether there is a LayerNorm before attention.
    """

    attention: Literal["mssa", "mhsa"] = "mssa"
    step_size: float = 1.0
    norm: bool = True


SIZES = {
    # ours, for a laptop: about as many parameters as crate_mini_patch8_64; the sizes of the paper were not available
    "aot_mini_patch8_64": AoTConfig(embed_dim=384, depth=12, num_heads=6, patch_size=8, img_size=64),
}


class Block(nn.Module):
    r"""One step of subspace denoising, without a second step.

    .. math:: Z^{\ell+1} = Z^\ell + \eta \sum_k U_k U_k^\top Z^\ell\,
              \mathrm{softmax}\bigl(p^{-1/2} (U_k^\top Z^\ell)^\top U_k^\top Z^\ell\bigr)

    *Unverified*: the equation is from summaries of arXiv 2506.03790; its code was not available. In its theory
    :math:`U_k` has orthonormal columns, and a hard threshold may follow the softmax. The scale is that of MSSA.

    The hook point ``z_half`` sees the block's output.
    """

    attention = "attn"
    lowers_rate = False
    sparse_code = None
    sparse_step = None

    def __init__(self, config: AoTConfig) -> None:
        super().__init__()
        dim, heads, self.step_size = config.embed_dim, config.num_heads, config.step_size
        self.norm1 = nn.LayerNorm(dim) if config.norm else nn.Identity()
        self.attn = MSSA(dim, heads, output="tied") if config.attention == "mssa" else Attention(dim, heads)
        self.z_half = HookPoint()

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        return self.z_half(z + self.step_size * self.attn(self.norm1(z)))

    def project(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r""":math:`U_k^\top z` of normed tokens, of ``"mhsa"`` the keys."""
        return self.attn.project(tokens)


class AoT(Backbone):
    """The attention-only transformer. Unverified, see its block."""

    def __init__(self, config: AoTConfig) -> None:
        super().__init__(
            config,
            patch_embed=ConvPatchEmbed(config.patch_shape, config.in_chans, config.embed_dim),
            blocks=[Block(config) for _ in range(config.depth)],
        )
