"""The released DEPICT (arXiv 2411.03033): a ViT and its decoder, as train.py saves them (``checkpoint.pth``)."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from torch import Tensor

from crate_transformer.checkpoints import official_vit
from crate_transformer.checkpoints.official import Converted, OfficialFormat, validate_hints
from crate_transformer.checkpoints.renaming import drop, rename, unfold, weights_and_biases
from crate_transformer.checkpoints.sizes import common_size, count_layers
from crate_transformer.models import DEPICTConfig, Segmenter, SegmenterConfig, ViTConfig

RENAMED = {"decoder.cls_emb": "decoder.classes", **weights_and_biases({"decoder.mask_norm": "decoder.mask_norm"})}
DROPPED = {r"encoder\.head\.(weight|bias)": "the classifier of the backbone, which the released code does not apply"}
HEAD_DIM = 100
"""Fixed in the released code."""
PREPROCESSING = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
"""What the released configuration calls normalization: vit."""


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of a ViT with a DEPICT decoder."""
    return any(re.fullmatch(r"decoder\.(cls_emb|s?net\.layers\.\d+\.fn\.(proj|step_size))", key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """Rename every tensor and infer the architecture; the number of heads of the ViT is assumed for published sizes."""
    tensors, dropped = drop(tensors, DROPPED)
    depth, layers, crossing = (
        count_layers(tensors.keys(), rf"{part}\.(\d+)\.")
        for part in (r"encoder\.blocks", r"decoder\.s?net\.layers", r"decoder\.cnet\.layers")
    )
    table = renamings(depth, layers, crossing)
    renamed = rename(tensors, table)
    inferred = {"num_classes": common_size(tensors, 0, r"decoder\.mask_norm\.(weight|bias)")}
    validate_hints(ViTConfig, inferred, hints)
    encoder = {key.removeprefix("encoder."): tensors[key] for key in tensors if key.startswith("encoder.")}
    vit = official_vit.convert(encoder, {"norm_eps": 1e-5, **hints, "num_classes": 0})
    assert isinstance(vit.config, ViTConfig)
    decoder = DEPICTConfig(
        **inferred,
        attention="cross" if crossing else "self",
        depth=layers,
        num_heads=common_size(tensors, 0, r"decoder\.s?net\.layers\.\d+\.fn\.proj") // HEAD_DIM,
        cross_depth=crossing or 3,
    )
    assumed = {name: getattr(vit.config, name) for name in ("attention", "norm_eps", "num_heads") if name not in hints}
    return Converted(
        model_class=Segmenter,
        config=SegmenterConfig(backbone=vit.config, decoder=decoder),
        tensors=renamed,
        stored_names={own: key for key, own in table.items()},
        inferred=vit.inferred | inferred | {"decoder": decoder},
        assumed=assumed | PREPROCESSING,
        dropped=dropped,
        preprocessing=PREPROCESSING,
    )


def renamings(depth: int, layers: int, crossing: int) -> dict[str, str]:
    """Official name to own name, for so many blocks, decoder layers and layers of cross attention."""
    encoder = official_vit.renamings(depth, registers=False, head=False, scales=False)
    net, norm = ("decoder.snet", "decoder.snorm") if crossing else ("decoder.net", "decoder.decoder_norm")
    table = RENAMED | {f"encoder.{key}": f"backbone.{own}" for key, own in encoder.items()}
    table |= weights_and_biases({norm: "decoder.norm"}) | unfold(in_layer(net, "layers"), layers)
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
