"""The released CLIP models with a CRATE-alpha vision tower (arXiv 2405.20299): the tower as a backbone."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import torch
from torch import Tensor

from crate_transformer.checkpoints.official import Converted, OfficialFormat
from crate_transformer.checkpoints.official_crate_alpha import describe
from crate_transformer.checkpoints.renaming import drop, permute_axes, rename, unfold
from crate_transformer.checkpoints.sizes import count_layers

RENAMED = {
    "visual.class_embedding": "cls_token",
    "visual.positional_embedding": "pos_embed",
    "visual.conv1.weight": "patch_embed.proj.weight",
    "visual.ln_post.weight": "norm.weight",
    "visual.ln_post.bias": "norm.bias",
    "visual.proj": "head.weight",
}
_LAYER = "visual.transformer.resblocks.{l}."
RENAMED_IN_LAYER = {
    _LAYER + "ln_1.weight": "blocks.{l}.norm1.weight",
    _LAYER + "ln_1.bias": "blocks.{l}.norm1.bias",
    _LAYER + "attn.in_proj_weight": "blocks.{l}.mssa.subspaces.weight",
    _LAYER + "attn.out_proj.weight": "blocks.{l}.mssa.out.weight",
    _LAYER + "ln_2.weight": "blocks.{l}.norm2.weight",
    _LAYER + "ln_2.bias": "blocks.{l}.norm2.bias",
    _LAYER + "mlp.c_fc": "blocks.{l}.odl.dictionary",
    _LAYER + "mlp.c_proj": "blocks.{l}.odl.decoupled_dictionary",
}
LAYOUT = {
    "visual.class_embedding": "dim -> 1 1 dim",
    "visual.positional_embedding": "tokens dim -> 1 tokens dim",
    "visual.proj": "dim classes -> classes dim",
    ".attn.in_proj_weight": "(copies head_dims) dim -> copies head_dims dim",
}
_TEXT = "text tower, a standard transformer"
DROPPED = {
    r"positional_embedding": _TEXT,
    r"token_embedding\.weight": _TEXT,
    r"transformer\.resblocks\..*": _TEXT,
    r"ln_final\.(weight|bias)": _TEXT,
    r"text_projection": _TEXT,
    r"logit_scale": "compares images with texts",
}
HEAD_EPS = 1e-6


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of a CLIP model with a CRATE-alpha vision tower."""
    return any(re.fullmatch(r"visual\.transformer\.resblocks\.\d+\.mlp\.c_fc", key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every tensor of the vision tower and infer the architecture; the logits are the image features."""
    tensors, dropped = drop(tensors, DROPPED)
    table = RENAMED | unfold(RENAMED_IN_LAYER, count_layers(tensors.keys(), r"visual\.transformer\.resblocks\.(\d+)\."))
    rename(tensors, table)
    arranged = permute_axes(tensors, LAYOUT, copies=3)
    for key in arranged:
        if key.endswith(".attn.in_proj_weight"):
            arranged[key] = _the_same(key, arranged[key])
    return describe(rename(arranged, table), table, hints, head_eps=HEAD_EPS, dropped=dropped)


def _the_same(key: str, copies: Tensor) -> Tensor:
    """The single projection that is stored as query, key and value."""
    if not torch.allclose(copies, copies[:1], rtol=0, atol=0, equal_nan=True):
        raise ValueError(f"tensor {key!r} is not one projection stored three times: this is not a CRATE-alpha")
    return copies[0]


FORMAT = OfficialFormat("official CRATE-alpha CLIPA", recognises, convert)
