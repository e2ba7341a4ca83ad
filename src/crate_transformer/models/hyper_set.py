"""Hyper-SET, whose layers descend two energies with learned step sizes (arXiv 2502.11646)."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import (
    AttentionEnergy,
    EnergyAttention,
    EnergyFeedForward,
    FeedForwardEnergy,
    HookPoint,
    LowRank,
    PatchEmbed,
    StepSizes,
    share_weights,
)
from crate_transformer.models.config import BackboneConfig
from crate_transformer.models.sequence_backbone import SequenceBackbone, check_class_token


@dataclass(frozen=True, kw_only=True)
class HyperSETConfig(BackboneConfig):
    """Architecture of a Hyper-SET; ``depth`` counts all steps, and ``recurrences`` consecutive steps share a layer.

    Args:
        class_token: without a class token ``global_pool`` must be ``"avg"``.
        num_atoms: atoms of the feed-forward step; default: ``embed_dim``.
        time_dim: number of sines and cosines of the step number within a layer.
        steps: step sizes from one network for all layers (``"shared"``), the same with a norm before its last map
            (``"normed"``, the variant for CIFAR), that with a separate last map for each layer (``"own"``, for the
            alternative energies), or always ``step_size`` (``"constant"``).
        steps_of: step sizes depend on the current ``"tokens"``, or on those of the first layer (``"input"``).
        attention, feed_forward: the energies, see ``layers.EnergyAttention`` and ``layers.EnergyFeedForward``.
        rank: rank of a change of the weights at each recurrence, scaled by ``rank_scale / rank``; 0 for none.
    """

    class_token: bool = True
    num_atoms: int | None = None
    time_dim: int = 512
    steps: Literal["shared", "normed", "own", "constant"] = "shared"
    steps_of: Literal["tokens", "input"] = "tokens"
    step_size: float = 0.5
    attention: AttentionEnergy = "softmax"
    feed_forward: FeedForwardEnergy = "gelu"
    rank: int = 0
    rank_scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_class_token(self)
        if self.rank < 0 or (self.rank and self.num_atoms not in (None, self.embed_dim)):
            raise ValueError(f"rank is {self.rank}: it must be 0 or more, and above 0 num_atoms must be embed_dim")


_PATCH14 = HyperSETConfig(embed_dim=512, depth=12, num_heads=8, patch_size=14)
SIZES = {
    "hyper_set_512_recurrent_patch14_224": replace(_PATCH14, recurrences=12),
    "hyper_set_640_recurrent_patch14_224": replace(_PATCH14, recurrences=12, embed_dim=640, num_heads=10),
    "hyper_set_512_patch14_224": _PATCH14,
    "hyper_set_768_patch14_224": replace(_PATCH14, embed_dim=768, num_heads=12),
}


class Block(nn.Module):
    r"""One step down each of two energies.

    .. math:: Z^{\ell+1/2} = Z^\ell - \alpha \odot \nabla E_\mathrm{att}(Z^\ell), \qquad
              Z^{\ell+1} = Z^{\ell+1/2} + \beta \odot \mathrm{FF}(Z^{\ell+1/2})

    with the gradients of ``EnergyAttention`` and ``EnergyFeedForward``. The hook point ``z_half`` sees
    :math:`Z^{\ell+1/2}`.

    Args:
        number: of the block, from 0.
    """

    attention = "attn"
    lowers_rate = False
    sparse_code = None
    sparse_step = None

    def __init__(self, config: HyperSETConfig, number: int) -> None:
        super().__init__()
        dim, self.step_size = config.embed_dim, config.step_size
        self.norm1 = nn.Identity()
        self.attn = EnergyAttention(dim, config.num_heads, energy=config.attention)
        self.z_half = HookPoint()
        self.ff = EnergyFeedForward(dim, config.num_atoms or dim, energy=config.feed_forward)
        self.steps = None
        if config.steps != "constant":
            step = number % config.recurrences + 1
            self.steps = StepSizes(dim, config.time_dim, step, norm=config.steps != "shared")
        self.changes = nn.ModuleList()

    def forward(
        self, z: Float[Tensor, "batch tokens dim"], start: Float[Tensor, "batch tokens dim"] | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        alpha = beta = self.step_size
        if self.steps:
            alpha, beta = self.steps(z if start is None else start)
        of_attention, of_ff = self.changed()
        z = self.z_half(z - alpha * self.attn(self.norm1(z), of_attention))
        return z + beta * self.ff(z, of_ff)

    def changed(self) -> tuple[Tensor | None, Tensor | None]:
        """The low-rank changes of the weights of both steps at this recurrence."""
        of_attention, of_ff = tuple(change() for change in self.changes) or (None, None)
        return of_attention, of_ff

    def project(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r""":math:`U_k^\top z`."""
        return self.attn.project(tokens, self.changed()[0])

    def energies(self, z: Float[Tensor, "batch tokens dim"]) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The energies of attention and feed-forward step at these tokens."""
        of_attention, of_ff = self.changed()
        return self.attn.energy(z, of_attention), self.ff.energy(z, of_ff)

    def fold_(self) -> None:
        """Add this recurrence's changes to the weights of both steps."""
        of_attention, of_ff = self.changed()
        self.attn.subspaces = self.attn.subspaces.folded(of_attention)
        self.ff.dictionary = self.ff.dictionary.folded(of_ff)
        self.changes = nn.ModuleList()


class HyperSET(SequenceBackbone):
    """The hyper-spherical energy transformer: every layer is one step down two energies, applied several times."""

    config: HyperSETConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, config: HyperSETConfig) -> None:
        blocks = [Block(config, number) for number in range(config.depth)]
        super().__init__(
            config, patch_embed=PatchEmbed(config.patch_shape, config.in_chans, config.embed_dim), blocks=blocks
        )
        for number, block in enumerate(blocks):
            if block.steps and blocks[0].steps and number and number % config.recurrences == 0:
                shared = "time" if config.steps == "own" else ""
                share_weights(block.steps.get_submodule(shared), blocks[0].steps.get_submodule(shared))
            if config.rank:
                block.changes.extend(LowRank(config.embed_dim, config.rank, config.rank_scale) for _ in range(2))
                if number >= config.recurrences:
                    share_weights(block.changes, blocks[number % config.recurrences].changes)

    def context(self, z: Float[Tensor, "batch tokens dim"], height: int, width: int) -> dict[str, Any]:
        """The tokens of the first layer, if step sizes depend on them."""
        return {"start": z} if self.config.steps_of == "input" else {}
