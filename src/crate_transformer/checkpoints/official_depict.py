"""The released DEPICT (arXiv 2411.03033): a ViT and its decoder, as train.py saves them (``checkpoint.pth``)."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from torch import Tensor

from crate_transformer.checkpoints.official import (
    Converted,
    OfficialFormat,
    common_size,
    count_layers,
    count_positions,
    drop,
    infer_patches,
    rename,
    resolve_num_heads,
    unfold,
    validate_hints,
    weights_and_biases,
)
from crate_transformer.models import DEPICTConfig, Segmenter, SegmenterConfig, ViTConfig

RENAMED = {
    "encoder.cls_token": "backbone.cls_token",
    "encoder.pos_embed": "backbone.pos_embed",
    "decoder.cls_emb": "decoder.classes",
} | weights_and_biases(
    {
        "encoder.patch_embed.proj": "backbone.patch_embed.proj",
        "encoder.norm": "backbone.norm",
        "decoder.mask_norm": "decoder.mask_norm",
    }
)
OUT = {"attn.proj": "attn.out"}
RENAMED_IN_BLOCK = weights_and_biases(
    {
        f"encoder.blocks.{{l}}.{part}": f"backbone.blocks.{{l}}.{OUT.get(part, part)}"
        for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    }
)
DROPPED = {r"encoder\.head\.(weight|bias)": "the classifier of the backbone, which the released code does not apply"}
HEAD_DIM = 100
"""Fixed in the released code."""
PUBLISHED_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16}
"""Heads of a ViT by its width."""
ASSUMED: dict[str, Any] = {"attention": "softmax", "norm_eps": 1e-5}
"""Options that are not in the tensors."""
PREPROCESSING = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
"""What the released configuration calls normalization: vit."""


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of a ViT with a DEPICT decoder."""
    return any(re.fullmatch(r"decoder\.(cls_emb|s?net\.layers\.\d+\.fn\.(proj|step_size))", key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every tensor and infer the architecture; the number of heads of the ViT is assumed for published sizes."""
    validate_hints(ViTConfig, {}, hints)
    tensors, dropped = drop(tensors, DROPPED)
    depth, layers, crossing = (
        count_layers(tensors.keys(), rf"{part}\.(\d+)\.")
        for part in (r"encoder\.blocks", r"decoder\.s?net\.layers", r"decoder\.cnet\.layers")
    )
    table = renamings(depth, layers, crossing)
    renamed = rename(tensors, table)
    kernel = renamed["backbone.patch_embed.proj.weight"]
    if kernel.ndim != 4:
        raise ValueError(f"tensor 'encoder.patch_embed.proj.weight' has shape {tuple(kernel.shape)}, expected 4 axes")
    dim = common_size(tensors, 0, r"encoder\.(norm|blocks\.\d+\.norm\d)\.(weight|bias)")
    patches = count_positions("encoder.pos_embed", tensors["encoder.pos_embed"], dim) - 1
    inferred: dict[str, Any] = {
        "embed_dim": dim,
        "depth": depth,
        "num_classes": common_size(tensors, 0, r"decoder\.mask_norm\.(weight|bias)"),
        "mlp_ratio": common_size(tensors, 0, r"encoder\.blocks\.\d+\.mlp\.fc1\.(weight|bias)") / max(dim, 1),
        **infer_patches(kernel[0].numel(), patches, {**hints, "patch_size": tuple(kernel.shape[-2:])}),
    }
    validate_hints(ViTConfig, inferred, hints)
    num_heads = resolve_num_heads(hints.get("num_heads", PUBLISHED_HEADS.get(dim)), dim, dim, depth)
    assumed: dict[str, Any] = {
        name: value for name, value in (ASSUMED | {"num_heads": num_heads}).items() if name not in hints
    }
    decoder = DEPICTConfig(
        num_classes=inferred["num_classes"],
        attention="cross" if crossing else "self",
        depth=layers,
        num_heads=common_size(tensors, 0, r"decoder\.s?net\.layers\.\d+\.fn\.proj") // HEAD_DIM,
        cross_depth=crossing or 3,
    )
    options: dict[str, Any] = {**assumed, **inferred, **hints, "num_classes": 0}
    return Converted(
        model_class=Segmenter,
        config=SegmenterConfig(backbone=ViTConfig(**options), decoder=decoder),
        tensors=renamed,
        stored_names={own: key for key, own in table.items()},
        inferred={name: value for name, value in inferred.items() if name not in hints} | {"decoder": decoder},
        assumed=assumed | PREPROCESSING,
        dropped=dropped,
        preprocessing=PREPROCESSING,
    )


def renamings(depth: int, layers: int, crossing: int) -> dict[str, str]:
    """Official name to own name, for so many blocks, decoder layers and layers of cross attention."""
    net, norm = ("decoder.snet", "decoder.snorm") if crossing else ("decoder.net", "decoder.decoder_norm")
    table = RENAMED | unfold(RENAMED_IN_BLOCK, depth) | weights_and_biases({norm: "decoder.norm"})
    table |= unfold(in_layer(net, "layers"), layers)
    if crossing:
        table |= unfold(in_layer("decoder.cnet", "cross_layers"), crossing)
        table |= weights_and_biases({"decoder.cnorm": "decoder.class_norm"})
    return table


def in_layer(net: str, own: str) -> dict[str, str]:
    """The renamings of one decoder layer."""
    return {
        f"{net}.layers.{{l}}.fn.proj": f"decoder.{own}.{{l}}.mssa.subspaces.weight",
        f"{net}.layers.{{l}}.fn.step_size": f"decoder.{own}.{{l}}.step_size",
    } | weights_and_biases({f"{net}.layers.{{l}}.norm": f"decoder.{own}.{{l}}.norm"})


FORMAT = OfficialFormat("official DEPICT", recognises, convert)
