"""The released CBT (arXiv 2509.16875): ``.pth.tar`` of its main.py, with CBSA, MSSA or TSSA."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from torch import Tensor

from crate_transformer.checkpoints.official import Converted, OfficialFormat, validate_hints
from crate_transformer.checkpoints.official_tost import RENAMED_IN_STEM as TOST_STEM
from crate_transformer.checkpoints.renaming import permute_axes, rename, rename_back, unfold, weights_and_biases
from crate_transformer.checkpoints.sizes import (
    common_size,
    count_layers,
    count_positions,
    infer_patches,
    resolve_num_heads,
)
from crate_transformer.models import CBT, CBTConfig

RENAMED = {"pos_embedding": "pos_embed", "cls_token": "cls_token"}
RENAMED |= weights_and_biases({"mlp_head.0": "norm", "mlp_head.1": "head"})
RENAMED_IN_STEM = {f"to_{key.replace('embed', 'embedding', 1)}": own for key, own in TOST_STEM.items()}
RENAMED_IN_LAYER = {"transformer.layers.{l}.1.fn.weight": "blocks.{l}.ista.dictionary"} | weights_and_biases(
    {
        "transformer.layers.{l}.0.norm": "blocks.{l}.norm1",
        "transformer.layers.{l}.0.fn.to_out": "blocks.{l}.attn.out",
        "transformer.layers.{l}.1.norm": "blocks.{l}.norm2",
    }
)
RENAMED_IN_ATTENTION = {
    "cbsa": {
        "transformer.layers.{l}.0.fn.proj.weight": "blocks.{l}.attn.subspaces.weight",
        "transformer.layers.{l}.0.fn.step_rep": "blocks.{l}.attn.representative_step",
        "transformer.layers.{l}.0.fn.step_x": "blocks.{l}.attn.token_step",
    },
    "mssa": {"transformer.layers.{l}.0.fn.qkv.weight": "blocks.{l}.attn.subspaces.weight"},
    "tssa": {
        "transformer.layers.{l}.0.fn.qkv.weight": "blocks.{l}.attn.subspaces.weight",
        "transformer.layers.{l}.0.fn.temp": "blocks.{l}.attn.temperature",
    },
}
TELLS = {".fn.step_x": "cbsa", ".fn.step_rep": "cbsa", ".fn.proj.weight": "cbsa", ".fn.temp": "tssa"}
"""Ends of the names that exist for only one kind of attention."""
SHAPES = {".step_rep": "heads 1 1 -> heads", ".step_x": "heads 1 1 -> heads", ".temp": "heads 1 -> heads"}
OFFICIAL_SHAPES = {".step_rep": "heads -> heads 1 1", ".step_x": "heads -> heads 1 1", ".temp": "heads -> heads 1"}
PUBLISHED_HEADS = {(192, 12): 3, (384, 12): 6, (768, 12): 12, (1024, 24): 16}
"""(embed_dim, depth) -> num_heads; only needed for MSSA, where it cannot be inferred from the tensors."""
NOT_IN_TENSORS = {"step_size": 0.1, "sparsity_weight": 0.1, "global_pool": "token", "pooling": "shifted"}


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of a CBT saved by main.py."""
    return any(re.match(r"to_patch_embedding\.proj\.\d+\.", key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every tensor and infer the architecture."""
    validate_hints(CBTConfig, {}, hints)
    stem = count_layers(tensors.keys(), r"to_patch_embedding\.proj\.(\d+)\.")
    depth = count_layers(tensors.keys(), r"transformer\.layers\.(\d+)\.")
    attention = next((kind for end, kind in TELLS.items() if any(key.endswith(end) for key in tensors)), "mssa")
    table = renamings(stem, depth, attention)
    renamed = rename(permute_axes(tensors, SHAPES), table)
    dim = common_size(tensors, 0, r"transformer\.layers\.\d+\.[01]\.norm\.(weight|bias)")
    in_chans = common_size(tensors, 1, r"to_patch_embedding\.proj\.0\.0\.weight")
    patches = count_positions("pos_embedding", tensors["pos_embedding"], dim) - 1
    inferred = {
        "attention": attention,
        "embed_dim": dim,
        "depth": depth,
        "num_classes": common_size(tensors, 0, r"mlp_head\.1\.(bias|weight)"),
        **infer_patches(4**stem * in_chans, patches, {**hints, "patch_size": 2**stem}),
    }
    if attention == "mssa":
        inner_dim = common_size(tensors, 0, r"transformer\.layers\.\d+\.0\.fn\.qkv\.weight")
        validate_hints(CBTConfig, inferred, hints)
        published = PUBLISHED_HEADS.get((dim, depth))
        inferred["num_heads"] = resolve_num_heads(hints.get("num_heads", published), inner_dim, dim, depth)
        if inner_dim != dim:
            inferred["head_dim"] = inner_dim // inferred["num_heads"]
    else:
        inferred["num_heads"] = common_size(tensors, 0, r"transformer\.layers\.\d+\.0\.fn\.(step_x|step_rep|temp)")
    return Converted.of(CBT, CBTConfig, renamed, table, inferred, NOT_IN_TENSORS, hints)


def renamings(stem: int, depth: int, attention: str) -> dict[str, str]:
    """Official name -> own name, for these numbers of convolutions and blocks with this attention."""
    in_layer = RENAMED_IN_LAYER | RENAMED_IN_ATTENTION.get(attention, {})
    return RENAMED | unfold(RENAMED_IN_STEM, stem) | unfold(in_layer, depth)


def restore(model: CBT) -> dict[str, Any]:
    """The checkpoint that main.py saves, without an optimiser."""
    table = renamings(len(model.patch_embed.convs), len(model.blocks), model.config.attention)
    tensors = permute_axes(rename_back(model, table), OFFICIAL_SHAPES)
    return {"epoch": 0, "arch": "CBT", "state_dict": {f"module.{key}": tensor for key, tensor in tensors.items()}}


FORMAT = OfficialFormat("official CBT", recognises, convert, (CBT, restore))
