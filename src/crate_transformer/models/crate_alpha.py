"""CRATE-alpha, a scalable white-box transformer (arXiv 2405.20299)."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import MSSA, ODL, ConvPatchEmbed, HookPoint
from crate_transformer.models.backbone import Backbone
from crate_transformer.models.config import BackboneConfig


@dataclass(frozen=True, kw_only=True)
class CRATEAlphaConfig(BackboneConfig):
    """Architecture of a CRATE-alpha; ``step_size`` is eta and ``sparsity_weight`` is lambda of the two ISTA steps.

    Args:
        num_atoms: columns of each dictionary; default: four times ``embed_dim``.
        has_out: whether attention has an output map; by default, only a single head of full width has none.
        head_eps: epsilon of the norm before the head. All published weights were trained with 1e-6 (the JAX code);
            the released PyTorch class uses 1e-5.
        patch_bias: whether the patch embedding has a bias; CLIPA towers have none.
        head_bias: whether the head has a bias; in a CLIPA tower the head is a projection without bias.
    """

    head_dim: int | None = None
    num_atoms: int | None = None
    step_size: float = 0.1
    sparsity_weight: float = 0.1
    has_out: bool | None = None
    head_eps: float = 1e-6
    patch_bias: bool = True
    head_bias: bool = True


def _sizes(name: str, patch_sizes: tuple[int, ...], **shape: Any) -> dict[str, CRATEAlphaConfig]:
    return {f"crate_alpha_{name}_patch{p}_224": CRATEAlphaConfig(patch_size=p, **shape) for p in patch_sizes}


SIZES = {
    **_sizes("tiny", (16,), embed_dim=192, depth=12, num_heads=3),
    **_sizes("small", (16,), embed_dim=576, depth=12, num_heads=12),
    **_sizes("base", (32, 16, 8), embed_dim=768, depth=12, num_heads=12),
    **_sizes("large", (32, 14, 8), embed_dim=1024, depth=24, num_heads=16),
    **_sizes("huge", (14,), embed_dim=1280, depth=32, num_heads=16),
    # our own size, for a laptop: about as many parameters as crate_mini_patch8_64
    "crate_alpha_mini_patch8_64": CRATEAlphaConfig(embed_dim=176, depth=6, num_heads=4, patch_size=8, img_size=64),
}


class Block(nn.Module):
    r"""Compress against the subspaces, then code in an overcomplete dictionary, both with a skip connection.

    .. math:: Z^{\ell+1/2} = Z^\ell + \mathrm{MSSA}(\mathrm{LN}(Z^\ell)), \qquad
              Z^{\ell+1} = Z^{\ell+1/2} + \mathrm{ODL}(\mathrm{LN}(Z^{\ell+1/2}))

    The hook point ``z_half`` is :math:`Z^{\ell+1/2}`.
    """

    attention = "mssa"
    lowers_rate = True
    sparse_code = "odl.code"

    def __init__(self, config: CRATEAlphaConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        output = {None: None, True: "free", False: "identity"}[config.has_out]
        self.mssa = MSSA(dim, config.num_heads, head_dim=config.head_dim, output=output, out_bias=False)
        self.z_half = HookPoint()
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.odl: Any = ODL(dim, config.num_atoms, step_size=config.step_size, sparsity_weight=config.sparsity_weight)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        z = self.z_half(z + self.mssa(self.norm1(z)))
        return z + self.odl(self.norm2(z))

    def project(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r""":math:`U_k^\top z` of normalised tokens."""
        return self.mssa.project(tokens)

    @property
    def sparse_step(self) -> ODL:
        """The sparse coding problem of the second step."""
        return self.odl

    def fold_(self) -> None:
        """Form the maps of the dictionaries once; the norm is kept, because the steps need the normalised tokens."""
        self.odl = self.odl.folded()


class CRATEAlpha(Backbone):
    """The scaled white-box vision transformer: overcomplete, decoupled dictionaries and a second skip connection."""

    config: CRATEAlphaConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, config: CRATEAlphaConfig) -> None:
        super().__init__(
            config,
            patch_embed=ConvPatchEmbed(config.patch_shape, config.in_chans, config.embed_dim, bias=config.patch_bias),
            blocks=[Block(config) for _ in range(config.depth)],
            eps=config.head_eps,
        )
        if config.num_classes and not config.head_bias:
            self.head = nn.Linear(config.embed_dim, config.num_classes, bias=False)
        nn.init.normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def reset_classifier(self, num_classes: int, global_pool: Literal["token", "avg", ""] | None = None) -> None:
        """Replace the head by a new one with a bias for this many classes, without class names."""
        super().reset_classifier(num_classes, global_pool)
        self.config = replace(self.config, head_bias=True)
