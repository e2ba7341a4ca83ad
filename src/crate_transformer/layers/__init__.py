"""Building blocks: one ``nn.Module`` per file, each one equation of a paper. They take plain arguments."""

from crate_transformer.layers.attend import attend
from crate_transformer.layers.attention import Attention
from crate_transformer.layers.drop_path import drop_path
from crate_transformer.layers.ista import ISTA
from crate_transformer.layers.mlp import MLP
from crate_transformer.layers.mssa import MSSA
from crate_transformer.layers.patch_embed import ConvPatchEmbed, PatchEmbed
from crate_transformer.layers.position import resample_position
from crate_transformer.layers.tap import Tap

__all__ = [
    "ISTA",
    "MLP",
    "MSSA",
    "Attention",
    "ConvPatchEmbed",
    "PatchEmbed",
    "Tap",
    "attend",
    "drop_path",
    "resample_position",
]
