"""The released PyTorch CRATE-alpha (arXiv 2405.20299): plain state dicts (``.pth``)."""

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
from crate_transformer.models import CRATEAlpha, CRATEAlphaConfig

RENAMED = {
    "pos_embedding": "pos_embed",
    "cls_token": "cls_token",
    "conv1.weight": "patch_embed.proj.weight",
    "conv1.bias": "patch_embed.proj.bias",
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
    "transformer.layers.{l}.1.norm.weight": "blocks.{l}.norm2.weight",
    "transformer.layers.{l}.1.norm.bias": "blocks.{l}.norm2.bias",
    "transformer.layers.{l}.1.fn.D": "blocks.{l}.odl.dictionary",
    "transformer.layers.{l}.1.fn.D1": "blocks.{l}.odl.decoupled_dictionary",
}
PUBLISHED_HEADS = {(192, 12): 3, (576, 12): 12, (768, 12): 12, (1024, 24): 16, (1280, 32): 16}
"""(embed_dim, depth) -> num_heads for the sizes Ti, S, B, L and H."""
NOT_IN_TENSORS: dict[str, Any] = {"step_size": 0.1, "sparsity_weight": 0.1, "global_pool": "token"}
RELEASED_HEAD_EPS = 1e-5
"""Value of the released PyTorch class, whose outputs are reproduced; the weights were trained with 1e-6."""


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of the released PyTorch class."""
    return any(re.fullmatch(r"transformer\.layers\.\d+\.1\.fn\.D", key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every tensor and infer the architecture."""
    has_out = any(".fn.to_out." in key for key in tensors)
    in_layer = {key: own for key, own in RENAMED_IN_LAYER.items() if has_out or ".to_out." not in key}
    table = RENAMED | unfold(in_layer, count_layers(tensors.keys(), r"transformer\.layers\.(\d+)\."))
    return describe(rename(tensors, table), table, hints, head_eps=RELEASED_HEAD_EPS)


def describe(
    tensors: dict[str, Tensor],
    table: Mapping[str, str],
    hints: Mapping[str, Any],
    *,
    head_eps: float,
    num_heads: int | None = None,
    dropped: dict[str, str] | None = None,
) -> Converted:
    """Infer the architecture of a CRATE-alpha whose tensors have this package's names and layout.

    Args:
        table: official name -> own name.
        num_heads: if known from the file.

    Raises:
        ValueError: the tensors contradict each other or the hints, or a hint is missing; the message says which.
    """
    stored_names = {own: key for key, own in table.items()}
    validate_hints(CRATEAlphaConfig, {}, hints)
    dim = common_size(tensors, 0, r"blocks\.\d+\.norm[12]\.(weight|bias)")
    depth = count_layers(tensors.keys(), r"blocks\.(\d+)\.")
    inner_dim = common_size(tensors, 0, r"blocks\.\d+\.mssa\.subspaces\.weight")
    num_atoms = common_size(tensors, -1, r"blocks\.\d+\.odl\.(decoupled_)?dictionary")
    kernel = tensors["patch_embed.proj.weight"].shape
    if len(kernel) != 4:
        raise ValueError(f"tensor {stored_names['patch_embed.proj.weight']!r} has {len(kernel)} axes, expected 4")
    given = {name: value for name, value in hints.items() if name == "img_size"} | {"patch_size": tuple(kernel[2:])}
    num_patches = count_positions(stored_names["pos_embed"], tensors["pos_embed"], dim) - 1
    inferred = {
        "embed_dim": dim,
        "depth": depth,
        "num_classes": common_size(tensors, 0, r"head\.(weight|bias)"),
        **infer_patches(kernel[1:].numel(), num_patches, given),
    }
    for option, bias in (("patch_bias", "patch_embed.proj.bias"), ("head_bias", "head.bias")):
        if bias not in tensors:
            inferred[option] = False
    if num_atoms != 4 * dim:
        inferred["num_atoms"] = num_atoms

    has_out = "blocks.0.mssa.out.weight" in tensors
    if not has_out:
        num_heads = 1
    elif num_heads is None and "num_heads" not in hints and inner_dim == dim:
        num_heads = PUBLISHED_HEADS.get((dim, depth))
    if num_heads is not None:
        inferred["num_heads"] = num_heads
    validate_hints(CRATEAlphaConfig, inferred, hints)
    num_heads = resolve_num_heads(hints.get("num_heads", num_heads), inner_dim, dim, depth)
    if inner_dim != dim:
        inferred["head_dim"] = inner_dim // num_heads
    if has_out and num_heads == 1:
        inferred["has_out"] = True
    assumed = NOT_IN_TENSORS | {"head_eps": head_eps}
    return Converted.of(CRATEAlpha, CRATEAlphaConfig, tensors, table, inferred, assumed, hints, dropped=dropped or {})


def restore(model: CRATEAlpha) -> dict[str, Tensor]:
    """The plain state dict of the released PyTorch class."""
    return rename_back(model, RENAMED | unfold(RENAMED_IN_LAYER, len(model.blocks)))


FORMAT = OfficialFormat("official CRATE-alpha", recognises, convert, (CRATEAlpha, restore))
