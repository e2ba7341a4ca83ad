"""The released ToST for language (arXiv 2412.17810): ``ckpt.pt`` of its train.py, compiled or not."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import torch
from torch import Tensor

from crate_transformer.checkpoints.official import Converted, OfficialFormat, validate_hints
from crate_transformer.checkpoints.renaming import permute_axes, rename, rename_back, unfold
from crate_transformer.checkpoints.sizes import common_size, count_layers
from crate_transformer.models import CausalToST, CausalToSTConfig

EMBEDDING, OUTPUT = "transformer.wte.weight", "lm_head.weight"
RENAMED = {
    EMBEDDING: "embedding.weight",
    "transformer.wpe.weight": "pos_embed",
    "transformer.ln_f.weight": "norm.weight",
    "transformer.ln_f.bias": "norm.bias",
}
RENAMED_IN_LAYER = {
    "transformer.h.{l}.ln_1.weight": "blocks.{l}.norm1.weight",
    "transformer.h.{l}.ln_1.bias": "blocks.{l}.norm1.bias",
    "transformer.h.{l}.attn.c_attn.weight": "blocks.{l}.tssa.subspaces.weight",
    "transformer.h.{l}.attn.c_attn.bias": "blocks.{l}.tssa.subspaces.bias",
    "transformer.h.{l}.attn.temp": "blocks.{l}.tssa.temperature",
    "transformer.h.{l}.attn.denom_bias": "blocks.{l}.tssa.denominator_bias",
    "transformer.h.{l}.attn.c_proj.weight": "blocks.{l}.tssa.out.weight",
    "transformer.h.{l}.attn.c_proj.bias": "blocks.{l}.tssa.out.bias",
    "transformer.h.{l}.gamma1": "blocks.{l}.scale1.gamma",
    "transformer.h.{l}.ln_2.weight": "blocks.{l}.norm2.weight",
    "transformer.h.{l}.ln_2.bias": "blocks.{l}.norm2.bias",
    "transformer.h.{l}.mlp.c_fc.weight": "blocks.{l}.mlp.fc1.weight",
    "transformer.h.{l}.mlp.c_fc.bias": "blocks.{l}.mlp.fc1.bias",
    "transformer.h.{l}.mlp.c_proj.weight": "blocks.{l}.mlp.fc2.weight",
    "transformer.h.{l}.mlp.c_proj.bias": "blocks.{l}.mlp.fc2.bias",
    "transformer.h.{l}.gamma2": "blocks.{l}.scale2.gamma",
}
BIASES = r"transformer\.(ln_f|h\.\d+\.(ln_1|ln_2|attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj))\.bias"
"""Official names of the tensors added by the option ``bias``."""


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of a language model with TSSA."""
    return any(re.fullmatch(r"transformer\.h\.\d+\.attn\.temp", key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every tensor and infer the architecture; the output map must equal the embedding to which it is tied."""
    validate_hints(CausalToSTConfig, {}, hints)
    depth = count_layers(tensors.keys(), r"transformer\.h\.(\d+)\.")
    bias = any(re.fullmatch(BIASES, key) for key in tensors)
    table = {
        key: own
        for key, own in (RENAMED | unfold(RENAMED_IN_LAYER, depth)).items()
        if bias or not re.fullmatch(BIASES, key)
    }
    for key in (EMBEDDING, OUTPUT):
        if key not in tensors:
            raise ValueError(f"tensor {key!r} is missing")
        if not tensors[key].isfinite().all():
            raise ValueError(f"tensor {key!r} contains values that are not finite")
    if not torch.equal(tensors[EMBEDDING], tensors[OUTPUT]):
        raise ValueError(f"tensor {OUTPUT!r} differs from {EMBEDDING!r}, but this format ties them")
    rest = {key: tensor for key, tensor in tensors.items() if key != OUTPUT}
    renamed = rename(permute_axes(rest, {".attn.temp": "heads 1 -> heads"}), table)
    dim = common_size(tensors, 0, r"transformer\.h\.\d+\.(ln_[12]\.weight|gamma[12])")
    inferred = {
        "vocab_size": common_size(tensors, 0, re.escape(EMBEDDING)),
        "context_length": common_size(tensors, 0, r"transformer\.wpe\.weight"),
        "embed_dim": dim,
        "depth": depth,
        "num_heads": common_size(tensors, 0, r"transformer\.h\.\d+\.attn\.(temp|denom_bias)"),
        "bias": bias,
        "mlp_ratio": common_size(tensors, 0, r"transformer\.h\.\d+\.mlp\.c_fc\.weight") / max(dim, 1),
    }
    dropped = {OUTPUT: f"the same as {EMBEDDING}"}
    return Converted.of(CausalToST, CausalToSTConfig, renamed, table, inferred, {}, hints, dropped=dropped)


def restore(model: CausalToST) -> dict[str, Any]:
    """The checkpoint that train.py saves, without an optimiser."""
    tensors = rename_back(model, RENAMED | unfold(RENAMED_IN_LAYER, len(model.blocks)))
    tensors = permute_axes(tensors, {".attn.temp": "heads -> heads 1"})
    config = model.config
    arguments = {
        "n_layer": config.depth,
        "n_head": config.num_heads,
        "n_embd": config.embed_dim,
        "block_size": config.context_length,
        "bias": config.bias,
        "vocab_size": config.vocab_size,
        "dropout": 0.0,
    }
    return {"model": tensors | {OUTPUT: tensors[EMBEDDING]}, "model_args": arguments, "iter_num": 0}


FORMAT = OfficialFormat("official ToST for language", recognises, convert, (CausalToST, restore))
