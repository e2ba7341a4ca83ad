"""ViT, DINO and DINOv2 (with or without registers) as transformers saves them."""

import dataclasses
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import torch
from torch import Tensor

from crate_transformer.checkpoints import official_vit
from crate_transformer.checkpoints.official import Converted, OfficialFormat
from crate_transformer.checkpoints.renaming import drop, rename, unfold, weights_and_biases
from crate_transformer.checkpoints.sizes import count_layers

RENAMED = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.register_tokens": "register_tokens",
    **weights_and_biases(
        {"embeddings.patch_embeddings.projection": "patch_embed.proj", "layernorm": "norm", "classifier": "head"}
    ),
}
"""To the names of DINO; registers and classifier may be absent."""
RENAMED_IN_LAYER = {
    "attention.attention.query": "attn.q",
    "attention.attention.key": "attn.k",
    "attention.attention.value": "attn.v",
    "attention.output.dense": "attn.proj",
}
RENAMED_IN_VIT = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
RENAMED_IN_DINOV2 = {name: name for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2")}
SCALES = {"layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma"}
DROPPED = {
    r"embeddings\.mask_token": "only for pre-training with masked patches",
    r"pooler\.dense\.(weight|bias)": "a layer after the final norm, which DINO does not have",
}


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of one of these models, with or without a classifier."""
    return any(re.fullmatch(r"(\w+\.)?encoder\.layer\.\d+\.attention\.attention\.query\.weight", key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, object]) -> Converted:
    """Rename every tensor as in DINO, and infer the architecture."""
    stored = official_vit.bare_names(tensors.keys(), r"^(vit|dinov2|dinov2_with_registers)\.")
    if any(re.search(r"\.mlp\.weights_(in|out)\.", key) for key in stored):
        raise ValueError(f"this ViT needs {next(iter(official_vit.REFUSED.values()))}")
    named, dropped = drop({name: tensors[key] for name, key in stored.items()}, DROPPED)
    depth = count_layers(named.keys(), r"encoder\.layer\.(\d+)\.")
    table = renamings(depth, named.keys())
    dino = rename(named, table)
    for part in (f"blocks.{layer}.attn.{{}}.{end}" for layer in range(depth) for end in ("weight", "bias")):
        query, key, value = (dino.pop(part.format(letter)) for letter in "qkv")
        if not query.shape == key.shape == value.shape:
            raise ValueError(f"query, key and value of {part.format('*')!r} have different shapes")
        dino[part.format("qkv")] = torch.cat([query, key, value])
    converted = official_vit.convert(dino, hints)
    names = {name.replace(".attn.q.", ".attn.qkv."): stored[key] for key, name in table.items()}
    return dataclasses.replace(
        converted,
        stored_names={own: names.get(name, name) for own, name in converted.stored_names.items()},
        dropped={stored[name]: reason for name, reason in dropped.items()},
    )


def renamings(depth: int, keys: AbstractSet[str]) -> dict[str, str]:
    """The name in transformers -> the name in DINO."""
    dinov2 = any(key.endswith("lambda1") for key in keys)
    modules = RENAMED_IN_LAYER | (RENAMED_IN_DINOV2 if dinov2 else RENAMED_IN_VIT)
    in_layer = weights_and_biases(modules) | (SCALES if dinov2 else {})
    optional = ("embeddings.register_tokens", "classifier.weight", "classifier.bias")
    table = {key: own for key, own in RENAMED.items() if key in keys or key not in optional}
    return table | unfold({f"encoder.layer.{{l}}.{key}": f"blocks.{{l}}.{own}" for key, own in in_layer.items()}, depth)


FORMAT = OfficialFormat("ViT of transformers", recognises, convert)
