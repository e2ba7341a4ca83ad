"""Weights of a model of this package without its configuration, as ``torch.save(model.state_dict())`` writes them."""

import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from torch import Tensor

from crate_transformer.checkpoints.assemble import without_values
from crate_transformer.checkpoints.official import Converted, OfficialFormat, validate_hints
from crate_transformer.models import (
    LANGUAGE_MODELS,
    MODELS,
    BackboneConfig,
    LanguageConfig,
    Model,
    Preprocessing,
    canonical_name,
)

KNOWN: dict[str, tuple[type[Model], BackboneConfig | LanguageConfig]] = {**MODELS, **LANGUAGE_MODELS}
NOT_ASSUMED = (
    *("patch_size", "in_chans", "num_classes", "embed_dim", "depth", "reg_tokens", "stem", "mlp_ratio", "num_atoms"),
    *("has_out", "bias", "layer_scale", "vocab_size", "context_length", "num_class_layers", "decoder_depth"),
    *("drop_rate", "drop_path_rate", "dynamic_img_size"),
)
"""Options that the shapes of the tensors show, and those that change no output in evaluation mode."""


def recognises(keys: AbstractSet[str]) -> bool:
    """Whether these are the tensors of a model of this package, by its own names."""
    return any(re.fullmatch(r"blocks\.\d+\.(mssa|tssa|attn)\.(subspaces|out)\.weight", key) for key in keys)


def convert(tensors: Mapping[str, Tensor], hints: Mapping[str, Any]) -> Converted:
    """The model is the hint ``model``, or else the only registered one with these shapes."""
    options = {option: value for option, value in hints.items() if option != "model"}
    name = registered(hints["model"]) if "model" in hints else find_name(tensors, options)
    model_class, default = KNOWN[name]
    config, inferred = configure(default, tensors, options)
    assumed = {
        option: value for option, value in vars(config).items() if option not in (*NOT_ASSUMED, *inferred, *options)
    }
    if isinstance(config, BackboneConfig):
        assumed |= {part: getattr(Preprocessing, part) for part in ("crop_pct", "interpolation", "mean", "std")}
    return Converted(
        model_class=model_class,
        config=config,
        tensors=dict(tensors),
        stored_names={},
        inferred={"model": name, **inferred},
        assumed=assumed,
    )


def registered(name: object) -> str:
    """The name in the registry, without the tag of weights.

    Raises:
        ValueError: there is no such model; the message names similar ones.
    """
    base = str(name).partition(".")[0]
    return base if base in LANGUAGE_MODELS else canonical_name(base)


def stored_name(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The hint ``model`` from the entry ``arch`` beside the weights, which timm writes; none for another model."""
    try:
        return {"model": registered(metadata["arch"])}
    except (KeyError, ValueError):
        return {}


def find_name(tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> str:
    """The only registered model that has these tensors with these options.

    Raises:
        ValueError: there is none, or the options make several alike.
    """
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    width, fitting = shapes.get("norm.weight"), []
    for name, (model_class, default) in KNOWN.items():
        if width != (options.get("embed_dim", default.embed_dim),):
            continue  # without making the model
        try:
            config, _ = configure(default, tensors, options)
            model = without_values(model_class, config, len(tensors))
        except ValueError:  # options that this model cannot have
            continue
        if {key: tensor.shape for key, tensor in model.state_dict().items()} == shapes:
            fitting.append(name)
    if len(fitting) == 1:
        return fitting[0]
    given = "".join(f" and {option}={value}" for option, value in options.items())
    raise ValueError(
        f"{' and '.join(fitting) or 'no registered model'} {'have' if fitting else 'has'} these tensors{given}: give "
        "model= and all options that differ from it"
    )


def configure(
    default: BackboneConfig | LanguageConfig, tensors: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[BackboneConfig | LanguageConfig, dict[str, Any]]:
    """The configuration of a registered model with these options, and what was inferred of it from the tensors.

    Raises:
        ValueError: the model does not have such an option, or the tensors contradict it.
    """
    validate_hints(type(default), {}, options)
    config = replace(default, **options)
    if not isinstance(config, BackboneConfig):
        return config, {}
    head, positions = tensors.get("head.weight"), tensors.get("pos_embed")
    found: dict[str, Any] = {"num_classes": head.shape[0] if head is not None and head.ndim else 0}
    if "img_size" not in options and positions is not None and positions.ndim == 3:
        side = math.isqrt(max(positions.shape[1] - 1 - config.reg_tokens, 0))
        if side and side**2 == positions.shape[1] - 1 - config.reg_tokens:
            height, width = (side * patch for patch in config.patch_shape)
            found["img_size"] = height if height == width else (height, width)
    validate_hints(type(default), found, options)
    return replace(config, **found), found


FORMAT = OfficialFormat("crate-transformer, weights alone", recognises, convert)
