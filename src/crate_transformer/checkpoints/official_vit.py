"""ViTs as DINO, DINOv2, SimDINO and timm save them."""

import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import torch
from torch import Tensor

from crate_transformer.checkpoints.official import Converted, OfficialFormat, validate_hints
from crate_transformer.checkpoints.renaming import drop, rename, unfold, weights_and_biases
from crate_transformer.checkpoints.sizes import (
    as_pair,
    common_size,
    count_layers,
    count_positions,
    infer_patches,
    resolve_num_heads,
)
from crate_transformer.models import Preprocessing, ViT, ViTConfig

RENAMED = {"patch_embed.proj": "patch_embed.proj", "norm": "norm"}
RENAMED_IN_BLOCK = {
    "blocks.{l}.norm1": "blocks.{l}.norm1",
    "blocks.{l}.attn.qkv": "blocks.{l}.attn.qkv",
    "blocks.{l}.attn.proj": "blocks.{l}.attn.out",
    "blocks.{l}.norm2": "blocks.{l}.norm2",
    "blocks.{l}.mlp.fc1": "blocks.{l}.mlp.fc1",
    "blocks.{l}.mlp.fc2": "blocks.{l}.mlp.fc2",
}
"""Modules with a weight and a bias."""
RENAMED_SCALES = {f"blocks.{{l}}.ls{branch}.gamma": f"blocks.{{l}}.scale{branch}.gamma" for branch in (1, 2)}
DROPPED = {
    r"mask_token": "only for pre-training with masked patches",
    r"(dino_|ibot_)?head\.(?!(weight|bias)$).+": "head of the objective of pre-training",
}
REFUSED = {
    r"blocks\.\d+\.mlp\.(w12|w3)\.\w+": "feed-forward layers with SwiGLU, as DINOv2's giant: load a smaller one",
    r"fc_norm\.\w+": "the mean of the patches without the class token (fc_norm): load one that uses the class token",
}
PUBLISHED_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
ASSUMED: dict[str, Any] = {"global_pool": "token", "attention": "softmax", "norm_eps": 1e-6, "layer_scale": 1e-5}
"""Options that are not in the tensors; the scales start at DINOv2's value. The ViTs of arXiv 2509.16875 with agent
attention have the same tensors."""
PREPROCESSING = {"interpolation": "bicubic"}


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of a ViT, also inside a ``backbone`` or in groups of blocks, as in training."""
    return any(re.fullmatch(r"(backbone\.)?blocks\.(\d+\.)?\d+\.attn\.qkv\.weight", key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every tensor, and infer the architecture; only the heads of unpublished sizes cannot be inferred."""
    stored = bare_names(tensors.keys(), r"^backbone\.|(?<=blocks)\.\d+(?=\.\d+\.)")
    for pattern, what in REFUSED.items():
        if any(re.fullmatch(pattern, name) for name in stored):
            raise ValueError(f"this ViT needs {what}")
    validate_hints(ViTConfig, {}, hints)
    named, dropped = drop({name: tensors[key] for name, key in stored.items()}, DROPPED)
    depth = count_layers(named.keys(), r"blocks\.(\d+)\.")
    dim = common_size(named, 0, r"blocks\.\d+\.norm[12]\.(weight|bias)")
    scales, has_head = (any(part in name for name in named) for part in (".ls1.", "head."))
    named, shapes = complete_positions(named, dim, hints)
    inferred: dict[str, Any] = {
        "embed_dim": dim,
        "depth": depth,
        "mlp_ratio": common_size(named, 0, r"blocks\.\d+\.mlp\.fc1\.(weight|bias)") / max(dim, 1),
        "num_classes": common_size(named, 0, r"head\.(weight|bias)") if has_head else 0,
        **shapes,
    }
    validate_hints(ViTConfig, inferred, hints)
    num_heads = resolve_num_heads(hints.get("num_heads", PUBLISHED_HEADS.get(dim)), dim, dim, depth)
    table = renamings(depth, registers=inferred["reg_tokens"] > 0, head=inferred["num_classes"] > 0, scales=scales)
    assumed: dict[str, Any] = {
        name: value
        for name, value in (ASSUMED | {"num_heads": num_heads}).items()
        if name not in hints and (scales or name != "layer_scale")
    }
    return Converted(
        model_class=ViT,
        config=ViTConfig(**assumed | inferred | dict(hints)),
        tensors=rename(named, table),
        stored_names={own: stored.get(name, name) for name, own in table.items()},
        inferred={name: value for name, value in inferred.items() if name not in hints},
        assumed=assumed | PREPROCESSING | {name: getattr(Preprocessing, name) for name in ("crop_pct", "mean", "std")},
        dropped={stored[name]: reason for name, reason in dropped.items()},
        preprocessing=PREPROCESSING,
    )


def bare_names(keys: AbstractSet[str], without: str) -> dict[str, str]:
    """Every name without the parts that match the pattern -> the stored name.

    Raises:
        ValueError: two names are then the same.
    """
    stored = {re.sub(without, "", key): key for key in keys}
    if len(stored) < len(keys):
        raise ValueError("it contains two sets of weights, one inside a backbone: store only one of them in the file")
    return stored


def complete_positions(
    tensors: Mapping[str, Tensor], dim: int, hints: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors with a position for every token, and the numbers of registers and patches.

    DINOv2 gives registers no position, and some ViTs of timm give none to the class token either: these become zero.
    """
    found = dict(tensors)
    for name in ("pos_embed", "patch_embed.proj.weight"):
        if name not in found:
            raise ValueError(f"tensor {name!r} is missing")
    kernel = found["patch_embed.proj.weight"]
    if kernel.ndim != 4 or not kernel.numel():
        raise ValueError(
            f"tensor 'patch_embed.proj.weight' has shape {tuple(kernel.shape)}, expected (dim, channels, rows, columns)"
        )
    rows, patch = count_positions("pos_embed", found["pos_embed"], dim), tuple(kernel.shape[2:])
    dinov2 = "register_tokens" in found
    tokens = found.pop("register_tokens") if dinov2 else found.get("reg_token", kernel.new_zeros(1, 0, dim))
    if tokens.ndim != 3 or tokens.shape[::2] != (1, dim):
        raise ValueError(f"the registers have shape {tuple(tokens.shape)}, expected (1, registers, {dim})")
    registers, patches = tokens.shape[1], math.isqrt(rows) ** 2
    shape = {"patch_size": patch, "in_chans": kernel.shape[1]}
    if "img_size" in hints:
        shape["img_size"] = hints["img_size"]
        sides = as_pair("img_size", hints["img_size"])
        patches = (sides[0] // patch[0]) * (sides[1] // patch[1])
    without = registers if dinov2 else 1 + registers if rows == patches else 0
    table, kept = found["pos_embed"], 1 + registers - without
    found["pos_embed"] = torch.cat([table[:, :kept], table.new_zeros(1, without, dim), table[:, kept:]], dim=1)
    if registers:
        found["reg_token"] = tokens
    return found, {"reg_tokens": registers, **infer_patches(kernel[0].numel(), rows - kept, shape)}


def renamings(depth: int, *, registers: bool, head: bool, scales: bool) -> dict[str, str]:
    """DINO's name -> own name."""
    modules = RENAMED | unfold(RENAMED_IN_BLOCK, depth) | ({"head": "head"} if head else {})
    tokens = ["cls_token", "pos_embed", *(["reg_token"] if registers else [])]
    return (
        {token: token for token in tokens}
        | weights_and_biases(modules)
        | (unfold(RENAMED_SCALES, depth) if scales else {})
    )


FORMAT = OfficialFormat("ViT of DINO or timm", recognises, convert)
