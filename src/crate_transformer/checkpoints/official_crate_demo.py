"""The demo checkpoint of arXiv 2308.16271: six heads, patch size 8, a replaced head and an unused second head."""

import copy
import dataclasses
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, cat, nn

from crate_transformer.checkpoints import official_crate
from crate_transformer.checkpoints.official import Converted, OfficialFormat
from crate_transformer.models import CRATE, CRATEConfig

NUM_HEADS = 6
SECOND_HEAD = ("head.weight", "head.bias")


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of a CRATE with a second head after the first."""
    return "head.weight" in keys and official_crate.recognises(keys - {"head.weight"})


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """As in the official forward pass: logits of the replaced head, without the second head.

    If the hint ``num_classes`` equals the rows of ``head``, the two linear maps are folded into one classifier.
    """
    weight, bias = tensors["head.weight"], tensors.get("head.bias")
    if bias is None:
        raise ValueError("tensor 'head.bias' is missing")
    if bias.ndim != 1:
        raise ValueError(f"tensor 'head.bias' has shape {tuple(bias.shape)}, expected one axis")
    for key in SECOND_HEAD:
        if not tensors[key].isfinite().all():
            raise ValueError(f"tensor {key!r} contains values that are not finite")
    first = {key: tensor for key, tensor in tensors.items() if key not in SECOND_HEAD}
    others = {name: value for name, value in hints.items() if name != "num_classes"}
    found = official_crate.convert(first, {"num_heads": NUM_HEADS} | others)
    if "num_heads" not in hints:
        found.inferred["num_heads"] = NUM_HEADS
    assert isinstance(found.config, CRATEConfig)
    width = found.config.num_classes
    if weight.shape != (len(bias), width) or found.tensors["head.weight"].shape != (width, found.config.embed_dim):
        raise ValueError(f"tensor 'head.weight' of shape {tuple(weight.shape)} must match its bias and 'mlp_head.1'")
    num_classes = hints.get("num_classes", width)
    if num_classes == width:
        reason = f"not used by the official code; the hint num_classes={len(bias)} uses it"
        return dataclasses.replace(found, dropped=dict.fromkeys(SECOND_HEAD, reason))
    if num_classes != len(bias):
        raise ValueError(f"num_classes={num_classes} matches neither of the heads, which have {width} and {len(bias)}")
    folded = {
        "head.weight": weight.double() @ found.tensors["head.weight"].double(),
        "head.bias": weight.double() @ found.tensors["head.bias"].double() + bias.double(),
    }
    return dataclasses.replace(
        found,
        config=dataclasses.replace(found.config, num_classes=num_classes),
        tensors=found.tensors | folded,
        inferred={name: value for name, value in found.inferred.items() if name != "num_classes"},
        dropped=dict.fromkeys(SECOND_HEAD, "folded into mlp_head.1"),
    )


def released_demo(model: CRATE, height: int, width: int) -> CRATE:
    """A copy for images of ``height`` x ``width`` pixels with the position table of the released demo code.

    That code resamples even at the native size, with 0.1 patches added to each side, and transposes the table if the
    image is not square. Compared with plain loading, features change by about 0.2; use it only to reproduce published
    figures.
    """
    rows, columns = model.grid_size(height, width)
    old_rows, old_columns = model.grid_size(*model.img_size)
    table = rearrange(model.pos_embed[:, 1:].detach(), "1 (h w) d -> 1 d h w", h=old_rows)
    scale = ((columns + 0.1) / old_rows, (rows + 0.1) / old_columns)
    table = F.interpolate(table, scale_factor=scale, mode="bicubic", recompute_scale_factor=False)
    released = copy.deepcopy(model)
    released.config = dataclasses.replace(model.config, img_size=(height, width))
    released.img_size = (height, width)
    released.preprocessing = dataclasses.replace(model.preprocessing, img_size=(height, width))
    table = rearrange(table, "1 d h w -> 1 (h w) d")
    released.pos_embed = nn.Parameter(cat([model.pos_embed[:, :1].detach(), table], dim=1))
    return released


FORMAT = OfficialFormat("official CRATE demo", recognises, convert)
