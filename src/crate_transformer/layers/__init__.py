"""Building blocks: one ``nn.Module`` per file, each for one equation of a paper, with plain arguments."""

from crate_transformer.layers.agent_attention import AgentAttention
from crate_transformer.layers.attention import Attention
from crate_transformer.layers.attention_rows import AttentionRows
from crate_transformer.layers.cbsa import CBSA
from crate_transformer.layers.class_attention import ClassAttention
from crate_transformer.layers.conv_stem import ConvStem
from crate_transformer.layers.drop_path import drop_path
from crate_transformer.layers.energy_attention import AttentionEnergy, EnergyAttention
from crate_transformer.layers.energy_feed_forward import EnergyFeedForward, FeedForwardEnergy
from crate_transformer.layers.fold_norm import fold_norm, frozen_linear
from crate_transformer.layers.fourier_position import FourierPosition
from crate_transformer.layers.fuse_kernels import fuse_kernels
from crate_transformer.layers.grid_means import grid_means
from crate_transformer.layers.hook_point import HookPoint, capture
from crate_transformer.layers.int8_linear import Int8Linear, quantise_linears
from crate_transformer.layers.ista import ISTA
from crate_transformer.layers.layer_scale import LayerScale, fold_scale
from crate_transformer.layers.low_rank import LowRank
from crate_transformer.layers.mlp import MLP
from crate_transformer.layers.mssa import MSSA, OutputMap
from crate_transformer.layers.odl import ODL
from crate_transformer.layers.packed_linear import pack_linears
from crate_transformer.layers.patch_embed import ConvPatchEmbed, PatchEmbed, resize_flat, resize_kernel
from crate_transformer.layers.patchify import patchify, unpatchify
from crate_transformer.layers.pooled_stem import PooledStem
from crate_transformer.layers.position import resample_position
from crate_transformer.layers.random_numbers import Stream, draw, sample_seeds, uniforms
from crate_transformer.layers.rms_norm import RMSNorm, rms_norm
from crate_transformer.layers.shared_weights import share_weights
from crate_transformer.layers.sincos import sincos_position
from crate_transformer.layers.softmax_attention import softmax_attention
from crate_transformer.layers.sparse_step import SparseStep
from crate_transformer.layers.step_sizes import StepSizes
from crate_transformer.layers.synthesis import Synthesis
from crate_transformer.layers.tssa import TSSA
from crate_transformer.layers.tssa_causal import CausalTSSA
from crate_transformer.renamed import old_names

__getattr__ = old_names(__name__, {"Tap": "HookPoint", "hear": "capture", "attend": "softmax_attention"})

__all__ = [
    "capture",
    "softmax_attention",
    "CBSA",
    "ISTA",
    "Int8Linear",
    "MLP",
    "MSSA",
    "ODL",
    "TSSA",
    "AgentAttention",
    "Attention",
    "AttentionEnergy",
    "AttentionRows",
    "CausalTSSA",
    "ClassAttention",
    "ConvPatchEmbed",
    "ConvStem",
    "EnergyAttention",
    "EnergyFeedForward",
    "FeedForwardEnergy",
    "FourierPosition",
    "LayerScale",
    "LowRank",
    "OutputMap",
    "PatchEmbed",
    "PooledStem",
    "RMSNorm",
    "SparseStep",
    "StepSizes",
    "Stream",
    "Synthesis",
    "HookPoint",
    "draw",
    "drop_path",
    "fold_norm",
    "fold_scale",
    "frozen_linear",
    "fuse_kernels",
    "grid_means",
    "pack_linears",
    "patchify",
    "quantise_linears",
    "resample_position",
    "resize_flat",
    "resize_kernel",
    "rms_norm",
    "sample_seeds",
    "share_weights",
    "sincos_position",
    "uniforms",
    "unpatchify",
]
