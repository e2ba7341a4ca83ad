"""CRATE for language (arXiv 2311.13110)."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import ISTA, MSSA, HookPoint
from crate_transformer.models.language.config import LanguageConfig
from crate_transformer.models.language.language_model import LanguageModel


@dataclass(frozen=True, kw_only=True)
class CausalCRATEConfig(LanguageConfig):
    """Architecture of a CRATE for language; ``step_size`` is eta and ``sparsity_weight`` is lambda of the ISTA step."""

    step_size: float = 0.1
    sparsity_weight: float = 0.1


SIZES = {
    "crate_lm_base": CausalCRATEConfig(embed_dim=768, depth=12, num_heads=12),
    "crate_lm_micro": CausalCRATEConfig(vocab_size=256, context_length=256, embed_dim=192, depth=6, num_heads=6),
}


class Block(nn.Module):
    r"""CRATE's block with causal attention.

    .. math:: Z^{\ell+1/2} = Z^\ell + \mathrm{MSSA}(\mathrm{LN}(Z^\ell)), \qquad
              Z^{\ell+1} = \mathrm{ISTA}(\mathrm{LN}(Z^{\ell+1/2}))

    The hook point ``z_half`` is :math:`Z^{\ell+1/2}`.
    """

    def __init__(self, config: CausalCRATEConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim, bias=config.bias)
        self.mssa = MSSA(dim, config.num_heads, out_bias=config.bias, causal=True)
        self.z_half = HookPoint()
        self.norm2 = nn.LayerNorm(dim, bias=config.bias)
        self.ista: Any = ISTA(dim, step_size=config.step_size, sparsity_weight=config.sparsity_weight)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        z = self.z_half(z + self.mssa(self.norm1(z)))
        return self.ista(self.norm2(z))

    def fold_(self) -> None:
        """Replace norm and sparsifying step by a norm without scale and shift, one linear map and a ReLU."""
        self.norm2, self.ista = self.ista.folded(self.norm2)


class CausalCRATE(LanguageModel):
    """The white-box transformer as a language model: every block is one step on the sparse rate reduction objective."""

    def __init__(self, config: CausalCRATEConfig) -> None:
        super().__init__(config, blocks=[Block(config) for _ in range(config.depth)])
