"""The released CRATE-MAE (arXiv 2404.02446): checkpoints of its pre-training, encoder and decoder together."""

import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import torch
from torch import Tensor

from crate_transformer.checkpoints.official import Converted, OfficialFormat, validate_hints
from crate_transformer.checkpoints.official_crate import PUBLISHED_HEADS
from crate_transformer.checkpoints.renaming import rename, rename_back, unfold
from crate_transformer.checkpoints.sizes import (
    common_size,
    count_layers,
    count_positions,
    infer_patches,
    resolve_num_heads,
)
from crate_transformer.models import CRATEMAE, CRATEMAEConfig

RENAMED = {
    "cls_token": "cls_token",
    "mask_token": "mask_token",
    "decoder_pos_embed": "pos_embed",
    "patch_embed.proj.weight": "patch_embed.proj.weight",
    "patch_embed.proj.bias": "patch_embed.proj.bias",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
    "decoder_norm.weight": "decoder.norm.weight",
    "decoder_norm.bias": "decoder.norm.bias",
    "decoder_pred.weight": "decoder.pixels.weight",
    "decoder_pred.bias": "decoder.pixels.bias",
}
RENAMED_IN_LAYER = {
    "blocks.{l}.layers.0.0.norm.weight": "blocks.{l}.norm1.weight",
    "blocks.{l}.layers.0.0.norm.bias": "blocks.{l}.norm1.bias",
    "blocks.{l}.layers.0.0.fn.qkv.weight": "blocks.{l}.mssa.subspaces.weight",
    "blocks.{l}.layers.0.0.fn.to_out.0.weight": "blocks.{l}.mssa.out.weight",
    "blocks.{l}.layers.0.0.fn.to_out.0.bias": "blocks.{l}.mssa.out.bias",
    "blocks.{l}.layers.0.1.norm.weight": "blocks.{l}.norm2.weight",
    "blocks.{l}.layers.0.1.norm.bias": "blocks.{l}.norm2.bias",
    "blocks.{l}.layers.0.1.fn.weight": "blocks.{l}.ista.dictionary",
}
RENAMED_IN_DECODER_LAYER = {
    "decoder_blocks.{l}.layers.0.0.norm.weight": "decoder.blocks.{l}.norm1.weight",
    "decoder_blocks.{l}.layers.0.0.norm.bias": "decoder.blocks.{l}.norm1.bias",
    "decoder_blocks.{l}.layers.0.0.fn.weight": "decoder.blocks.{l}.synthesis.dictionary",
    "decoder_blocks.{l}.layers.0.1.norm.weight": "decoder.blocks.{l}.norm2.weight",
    "decoder_blocks.{l}.layers.0.1.norm.bias": "decoder.blocks.{l}.norm2.bias",
    "decoder_blocks.{l}.layers.0.1.fn.qkv.weight": "decoder.blocks.{l}.mssa.subspaces.weight",
    "decoder_blocks.{l}.layers.0.1.fn.to_out.0.weight": "decoder.blocks.{l}.mssa.out.weight",
    "decoder_blocks.{l}.layers.0.1.fn.to_out.0.bias": "decoder.blocks.{l}.mssa.out.bias",
}
DROPPED = {
    "pos_embed": "not used by the official code, which adds decoder_pos_embed before the encoder",
    "decoder_embed.weight": "not used by the official code",
    "decoder_embed.bias": "not used by the official code",
}
NOT_IN_TENSORS: dict[str, Any] = {"step_size": 0.1, "sparsity_weight": 0.5, "normalise_pixels": False}
"""Defaults of the official code. A base model with lambda 5.0 was released too; its file name contains ``lmd5.0``."""


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of a CRATE-MAE: blocks with one CRATE layer each."""
    return any(re.match(r"(decoder_)?blocks\.\d+\.layers\.0\.[01]\.", key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every tensor except those that the official code does not use, and infer the architecture."""
    validate_hints(CRATEMAEConfig, {}, hints)
    depth = count_layers(tensors.keys(), r"blocks\.(\d+)\.")
    decoder_depth = count_layers(tensors.keys(), r"decoder_blocks\.(\d+)\.")
    table = RENAMED | unfold(RENAMED_IN_LAYER, depth) | unfold(RENAMED_IN_DECODER_LAYER, decoder_depth)
    renamed = rename({key: tensor for key, tensor in tensors.items() if key not in DROPPED}, table)

    dim = common_size(tensors, 0, r"(decoder_)?blocks\.\d+\.layers\.0\.[01]\.norm\.(weight|bias)")
    kernel = tensors["patch_embed.proj.weight"]
    if kernel.ndim != 4:
        raise ValueError(
            f"tensor 'patch_embed.proj.weight' has shape {tuple(kernel.shape)}, which is not that of a convolution"
        )
    in_chans, *patch_size = kernel.shape[1:]
    num_patches = count_positions("decoder_pos_embed", tensors["decoder_pos_embed"], dim) - 1
    as_default = "decoder_depth" in hints and hints["decoder_depth"] is None
    inferred = {
        "embed_dim": dim,
        "depth": depth,
        "decoder_depth": None if decoder_depth == depth and as_default else decoder_depth,
        "num_classes": 0,
        **infer_patches(
            math.prod(kernel.shape[1:]), num_patches, {**hints, "patch_size": tuple(patch_size), "in_chans": in_chans}
        ),
    }
    if "num_heads" not in hints and (dim, depth) in PUBLISHED_HEADS:
        inferred["num_heads"] = PUBLISHED_HEADS[dim, depth]
    validate_hints(CRATEMAEConfig, inferred, hints)
    inner_dim = common_size(tensors, 0, r"(decoder_)?blocks\.\d+\.layers\.0\.[01]\.fn\.qkv\.weight")
    num_heads = resolve_num_heads(hints.get("num_heads", inferred.get("num_heads")), inner_dim, dim, depth)
    if inner_dim != dim:
        inferred["head_dim"] = inner_dim // num_heads
    elif num_heads == 1:
        raise ValueError("num_heads=1 contradicts the tensors: a single head would have no output projection")
    dropped = {key: reason for key, reason in DROPPED.items() if key in tensors}
    return Converted.of(CRATEMAE, CRATEMAEConfig, renamed, table, inferred, NOT_IN_TENSORS, hints, dropped=dropped)


def restore(model: CRATEMAE) -> dict[str, Any]:
    """The checkpoint that its main program saves, without an optimiser; unused weights are filled with the same
    sine-cosine table and zeros."""
    layers = unfold(RENAMED_IN_LAYER, len(model.blocks))
    decoder_layers = unfold(RENAMED_IN_DECODER_LAYER, len(model.decoder.blocks))
    tensors = rename_back(model, RENAMED | layers | decoder_layers)
    dim = model.embed_dim
    idle = (tensors["decoder_pos_embed"].clone(), torch.zeros(dim, dim), torch.zeros(dim))
    return {"model": tensors | dict(zip(DROPPED, idle, strict=True)), "epoch": 0}


FORMAT = OfficialFormat("official CRATE-MAE", recognises, convert, (CRATEMAE, restore))
