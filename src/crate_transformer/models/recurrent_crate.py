"""CRATE with weights shared over its depth, as in the released code of Hyper-SET (arXiv 2502.11646)."""

from dataclasses import dataclass, replace

from crate_transformer.layers import ConvPatchEmbed
from crate_transformer.models.crate import Block, CRATEConfig
from crate_transformer.models.sequence_backbone import SequenceBackbone, check_class_token


@dataclass(frozen=True, kw_only=True)
class RecurrentCRATEConfig(CRATEConfig):
    """Architecture of a recurrent CRATE; ``depth`` counts all steps, ``recurrences`` of which share a layer.

    Args:
        class_token: without a class token ``global_pool`` must be ``"avg"``.
    """

    class_token: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_class_token(self)
        if self.stem != "patch":
            raise ValueError(f"stem is {self.stem!r}: a RecurrentCRATE has only 'patch'")


_CRATE = RecurrentCRATEConfig(embed_dim=768, depth=12, num_heads=12, patch_size=14, recurrences=12)
SIZES = {
    "crate_768_recurrent_patch14_224": _CRATE,
    "crate_t_896_recurrent_patch14_224": replace(_CRATE, embed_dim=896, num_heads=14, output="transposed"),
    "crate_512_patch14_224": replace(_CRATE, embed_dim=512, num_heads=8, recurrences=1),
}


class RecurrentCRATE(SequenceBackbone):
    """CRATE's blocks applied several times with the same weights, after a linear patch embedding."""

    def __init__(self, config: RecurrentCRATEConfig) -> None:
        super().__init__(
            config,
            patch_embed=ConvPatchEmbed(config.patch_shape, config.in_chans, config.embed_dim),
            blocks=[Block(config) for _ in range(config.depth)],
        )
