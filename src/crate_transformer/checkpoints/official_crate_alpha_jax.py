"""The JAX CRATE-alpha (arXiv 2405.20299): training checkpoints and bare parameters (``.npz``)."""

import dataclasses
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from crate_transformer.checkpoints.official import Converted, OfficialFormat
from crate_transformer.checkpoints.official_crate_alpha import describe
from crate_transformer.checkpoints.renaming import drop, permute_axes, rename, unfold
from crate_transformer.checkpoints.sizes import common_size, count_layers
from crate_transformer.layers import resize_kernel
from crate_transformer.models import CRATEAlpha

RENAMED = {
    "cls": "cls_token",
    "pos_embedding": "pos_embed",
    "embedding/kernel": "patch_embed.proj.weight",
    "embedding/bias": "patch_embed.proj.bias",
    "encoder_norm/scale": "norm.weight",
    "encoder_norm/bias": "norm.bias",
    "head/kernel": "head.weight",
    "head/bias": "head.bias",
}
_LAYER = "Transformer/encoderblock_{l}/"
RENAMED_IN_LAYER = {
    _LAYER + "LayerNorm_0/scale": "blocks.{l}.norm1.weight",
    _LAYER + "LayerNorm_0/bias": "blocks.{l}.norm1.bias",
    _LAYER + "MultiHeadDotProductSubspaceAttention_0/proj/kernel": "blocks.{l}.mssa.subspaces.weight",
    _LAYER + "MultiHeadDotProductSubspaceAttention_0/out/kernel": "blocks.{l}.mssa.out.weight",
    _LAYER + "LayerNorm_1/scale": "blocks.{l}.norm2.weight",
    _LAYER + "LayerNorm_1/bias": "blocks.{l}.norm2.bias",
    _LAYER + "OvercompleteISTABlock_0/D": "blocks.{l}.odl.dictionary",
    _LAYER + "OvercompleteISTABlock_0/D1": "blocks.{l}.odl.decoupled_dictionary",
}
LAYOUT = {
    "embedding/kernel": "rows columns channels dim -> dim channels rows columns",
    "head/kernel": "dim classes -> classes dim",
    "proj/kernel": "dim heads head_dim -> (heads head_dim) dim",
    "out/kernel": "heads head_dim dim -> dim (heads head_dim)",
}
DROPPED = {r"opt/.*": "optimiser state", r"chrono/.*": "training clock"}
HEAD_EPS = 1e-6


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are parameters of the JAX model, alone or in a training checkpoint."""
    pattern = r"(params/)?Transformer/encoderblock_\d+/OvercompleteISTABlock_0/D"
    return any(re.fullmatch(pattern, key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every parameter, permute its axes to PyTorch's order and infer the architecture, including the heads."""
    tensors, dropped = drop(tensors, DROPPED)
    lead = "params/" if any(key.startswith("params/") for key in tensors) else ""
    depth = count_layers(tensors.keys(), lead + r"Transformer/encoderblock_(\d+)/")
    table = {lead + key: own for key, own in (RENAMED | unfold(RENAMED_IN_LAYER, depth)).items()}
    rename(tensors, table)
    num_heads, head_dim = (common_size(tensors, axis, r".*/proj/kernel") for axis in (1, 2))
    arranged = rename(permute_axes(tensors, LAYOUT, heads=num_heads, head_dim=head_dim), table)
    return describe(arranged, table, hints, head_eps=HEAD_EPS, num_heads=num_heads, dropped=dropped)


def released_resize(
    model: CRATEAlpha, *, img_size: int | tuple[int, int], patch_size: int | tuple[int, int]
) -> CRATEAlpha:
    """A copy for another image and patch size, as in the JAX code before fine-tuning with smaller patches.

    The position table is resampled linearly with aligned corners, the kernel of the patch embedding linearly with
    antialiasing; everything else, including the head, is unchanged. The package's own ``set_input_size`` is bicubic.

    Raises:
        ValueError: ``img_size`` is not a multiple of ``patch_size``.
    """
    resized = CRATEAlpha(dataclasses.replace(model.config, img_size=img_size, patch_size=patch_size))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prefix, patches = state["pos_embed"].tensor_split([model.num_prefix_tokens], dim=1)
    grid = model.grid_size(*model.img_size)
    table = rearrange(patches, "1 (h w) d -> 1 d h w", h=grid[0])
    table = F.interpolate(table, resized.grid_size(*resized.img_size), mode="bilinear", align_corners=True)
    state["pos_embed"] = torch.cat([prefix, rearrange(table, "1 d h w -> 1 (h w) d")], dim=1)
    kernel = state["patch_embed.proj.weight"]
    state["patch_embed.proj.weight"] = resize_kernel(kernel, resized.patch_size)
    resized.load_state_dict(state)
    resized.preprocessing = dataclasses.replace(model.preprocessing, img_size=resized.img_size)
    resized.class_names, resized.exclusive_classes = model.class_names, model.exclusive_classes
    return resized.to(kernel).train(model.training)


FORMAT = OfficialFormat("official CRATE-alpha in JAX", recognises, convert)
