"""The released ToST for images (arXiv 2412.17810): ``checkpoint.pth`` and ``best_model.pth`` of its main.py."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from torch import Tensor

from crate_transformer.checkpoints.official import Converted, OfficialFormat, validate_hints
from crate_transformer.checkpoints.renaming import permute_axes, rename, rename_back, unfold
from crate_transformer.checkpoints.sizes import common_size, count_layers
from crate_transformer.models import ToST, ToSTConfig

RENAMED = {
    "cls_token": "cls_token",
    "pos_embeder.token_projection.weight": "pos_embed.proj.weight",
    "pos_embeder.token_projection.bias": "pos_embed.proj.bias",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
    "head.weight": "head.weight",
    "head.bias": "head.bias",
}
RENAMED_IN_STEM = {
    "patch_embed.proj.{even}.0.weight": "patch_embed.convs.{l}.weight",
    "patch_embed.proj.{even}.1.weight": "patch_embed.norms.{l}.weight",
    "patch_embed.proj.{even}.1.bias": "patch_embed.norms.{l}.bias",
    "patch_embed.proj.{even}.1.running_mean": "patch_embed.norms.{l}.running_mean",
    "patch_embed.proj.{even}.1.running_var": "patch_embed.norms.{l}.running_var",
    "patch_embed.proj.{even}.1.num_batches_tracked": "patch_embed.norms.{l}.num_batches_tracked",
}
_AROUND = {
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "gamma1": "scale1.gamma",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "mlp.fc1.weight": "mlp.fc1.weight",
    "mlp.fc1.bias": "mlp.fc1.bias",
    "mlp.fc2.weight": "mlp.fc2.weight",
    "mlp.fc2.bias": "mlp.fc2.bias",
    "gamma2": "scale2.gamma",
}
RENAMED_IN_BLOCK = {f"blocks.{{l}}.{key}": f"blocks.{{l}}.{own}" for key, own in _AROUND.items()} | {
    "blocks.{l}.attn.temp": "blocks.{l}.tssa.temperature",
    "blocks.{l}.attn.qkv.weight": "blocks.{l}.tssa.subspaces.weight",
    "blocks.{l}.attn.qkv.bias": "blocks.{l}.tssa.subspaces.bias",
    "blocks.{l}.attn.to_out.0.weight": "blocks.{l}.tssa.out.weight",
    "blocks.{l}.attn.to_out.0.bias": "blocks.{l}.tssa.out.bias",
}
RENAMED_IN_CLASS_LAYER = {
    f"cls_attn_blocks.{{l}}.{key}": f"class_layers.{{l}}.{own}" for key, own in _AROUND.items()
} | {
    "cls_attn_blocks.{l}.attn.qkv.weight": "class_layers.{l}.attn.qkv.weight",
    "cls_attn_blocks.{l}.attn.qkv.bias": "class_layers.{l}.attn.qkv.bias",
    "cls_attn_blocks.{l}.attn.proj.weight": "class_layers.{l}.attn.out.weight",
    "cls_attn_blocks.{l}.attn.proj.bias": "class_layers.{l}.attn.out.bias",
}
PREPROCESSING = {"interpolation": "bicubic"}
"""As in XCiT's evaluation, which the released code uses."""


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of a ToST saved by main.py."""
    return any(re.fullmatch(r"blocks\.\d+\.attn\.temp", key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every tensor and infer the architecture; only the image size cannot be inferred."""
    validate_hints(ToSTConfig, {}, hints)
    stem = count_layers(tensors.keys(), r"patch_embed\.proj\.(\d+)\.")
    depth = count_layers(tensors.keys(), r"blocks\.(\d+)\.")
    class_layers = count_layers(tensors.keys(), r"cls_attn_blocks\.(\d+)\.")
    table = renamings(stem, depth, class_layers)
    renamed = rename(permute_axes(tensors, {".attn.temp": "heads 1 -> heads"}), table)
    dim = common_size(tensors, 0, r"blocks\.\d+\.norm[12]\.(weight|bias)")
    inferred = {
        "patch_size": 2**stem,
        "in_chans": common_size(tensors, 1, r"patch_embed\.proj\.0\.0\.weight"),
        "embed_dim": dim,
        "depth": depth,
        "num_heads": common_size(tensors, 0, r"blocks\.\d+\.attn\.temp"),
        "num_class_layers": class_layers,
        "mlp_ratio": common_size(tensors, 0, r"blocks\.\d+\.mlp\.fc1\.(weight|bias)") / max(dim, 1),
        "num_classes": common_size(tensors, 0, r"head\.(weight|bias)"),
    }
    assumed = {"img_size": 224, "global_pool": "token", "layer_scale": 1.0 if depth < 24 else 1e-5}
    return Converted.of(ToST, ToSTConfig, renamed, table, inferred, assumed, hints, preprocessing=PREPROCESSING)


def renamings(stem: int, depth: int, class_layers: int) -> dict[str, str]:
    """Official name -> own name, for these numbers of convolutions, blocks and class layers."""
    convs = unfold(RENAMED_IN_STEM, stem)
    return RENAMED | convs | unfold(RENAMED_IN_BLOCK, depth) | unfold(RENAMED_IN_CLASS_LAYER, class_layers)


def restore(model: ToST) -> dict[str, Any]:
    """The checkpoint that main.py saves, without an optimiser."""
    counts = len(model.patch_embed.convs), len(model.blocks), len(model.class_layers)
    return {
        "model": permute_axes(rename_back(model, renamings(*counts)), {".attn.temp": "heads -> heads 1"}),
        "epoch": 0,
    }


FORMAT = OfficialFormat("official ToST", recognises, convert, (ToST, restore))
