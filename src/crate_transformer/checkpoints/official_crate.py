"""The released CRATE (arXiv 2306.01129): checkpoints of main.py (``.pth.tar``) and finetune.py (``.t7``)."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from torch import Tensor

from crate_transformer.checkpoints.official import Converted, OfficialFormat, validate_hints
from crate_transformer.checkpoints.renaming import rename, rename_back, unfold
from crate_transformer.checkpoints.sizes import (
    common_size,
    count_layers,
    count_positions,
    infer_patches,
    resolve_num_heads,
)
from crate_transformer.models import CRATE, CRATEConfig

RENAMED = {
    "pos_embedding": "pos_embed",
    "cls_token": "cls_token",
    "to_patch_embedding.1.weight": "patch_embed.norm_in.weight",
    "to_patch_embedding.1.bias": "patch_embed.norm_in.bias",
    "to_patch_embedding.2.weight": "patch_embed.proj.weight",
    "to_patch_embedding.2.bias": "patch_embed.proj.bias",
    "to_patch_embedding.3.weight": "patch_embed.norm_out.weight",
    "to_patch_embedding.3.bias": "patch_embed.norm_out.bias",
    "mlp_head.0.weight": "norm.weight",
    "mlp_head.0.bias": "norm.bias",
    "mlp_head.1.weight": "head.weight",
    "mlp_head.1.bias": "head.bias",
}
RENAMED_IN_LAYER = {
    "transformer.layers.{l}.0.norm.weight": "blocks.{l}.norm1.weight",
    "transformer.layers.{l}.0.norm.bias": "blocks.{l}.norm1.bias",
    "transformer.layers.{l}.0.fn.qkv.weight": "blocks.{l}.mssa.subspaces.weight",
    "transformer.layers.{l}.0.fn.to_out.0.weight": "blocks.{l}.mssa.out.weight",
    "transformer.layers.{l}.0.fn.to_out.0.bias": "blocks.{l}.mssa.out.bias",
    "transformer.layers.{l}.1.norm.weight": "blocks.{l}.norm2.weight",
    "transformer.layers.{l}.1.norm.bias": "blocks.{l}.norm2.bias",
    "transformer.layers.{l}.1.fn.weight": "blocks.{l}.ista.dictionary",
}
PUBLISHED_HEADS = {(384, 12): 6, (576, 12): 12, (768, 12): 12, (1024, 24): 16}
"""(embed_dim, depth) -> num_heads for the sizes in table 1."""
NOT_IN_TENSORS: dict[str, Any] = {"step_size": 0.1, "sparsity_weight": 0.1, "global_pool": "token"}


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of a CRATE saved by main.py."""
    dictionaries = any(re.fullmatch(r"transformer\.layers\.\d+\.1\.fn\.weight", key) for key in keys)
    return dictionaries and "head.weight" not in keys


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every tensor and infer the architecture."""
    validate_hints(CRATEConfig, {}, hints)
    depth = count_layers(tensors.keys(), r"transformer\.layers\.(\d+)\.")
    has_out = any(".fn.to_out." in key for key in tensors)
    if (output := hints.get("output")) not in (None, "free" if has_out else "identity"):
        raise ValueError(f"output={output} contradicts the tensors, which have {'an' if has_out else 'no'} output map")
    in_layer = {key: own for key, own in RENAMED_IN_LAYER.items() if has_out or ".to_out." not in key}
    table = RENAMED | unfold(in_layer, depth)
    renamed = rename(tensors, table)

    dim = common_size(tensors, 0, r"transformer\.layers\.\d+\.[01]\.norm\.(weight|bias)")
    inner_dim = common_size(tensors, 0, r"transformer\.layers\.\d+\.0\.fn\.qkv\.weight")
    inferred = {
        "embed_dim": dim,
        "depth": depth,
        "num_classes": common_size(tensors, 0, r"mlp_head\.1\.(bias|weight)"),
        **infer_patches(
            common_size(tensors, -1, r"to_patch_embedding\.(1\.weight|1\.bias|2\.weight)"),
            count_positions("pos_embedding", tensors["pos_embedding"], dim) - 1,
            hints,
        ),
    }
    if not has_out:
        inferred["num_heads"] = 1
    elif "num_heads" not in hints and inner_dim == dim and (dim, depth) in PUBLISHED_HEADS:
        inferred["num_heads"] = PUBLISHED_HEADS[dim, depth]
    validate_hints(CRATEConfig, inferred, hints)
    num_heads = resolve_num_heads(hints.get("num_heads", inferred.get("num_heads")), inner_dim, dim, depth)
    if has_out and num_heads == 1 and inner_dim == dim:
        raise ValueError("num_heads=1 contradicts the tensors: a single head would have no output projection")
    if inner_dim != dim:
        inferred["head_dim"] = inner_dim // num_heads
    return Converted.of(CRATE, CRATEConfig, renamed, table, inferred, NOT_IN_TENSORS, hints)


def restore(model: CRATE) -> dict[str, Any]:
    """The checkpoint that main.py saves, without an optimiser."""
    tensors = rename_back(model, RENAMED | unfold(RENAMED_IN_LAYER, len(model.blocks)))
    return {"epoch": 0, "arch": "CRATE", "state_dict": {f"module.{key}": tensor for key, tensor in tensors.items()}}


FORMAT = OfficialFormat("official CRATE", recognises, convert, (CRATE, restore))
