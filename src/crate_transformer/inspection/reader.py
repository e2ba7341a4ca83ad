"""Reading queries, keys and features from the models of this package, timm and transformers."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from crate_transformer.layers import AttentionRows
from crate_transformer.models import Backbone, Preprocessing, attention_of

_FOREIGN_PAIRS = (("q_norm", "k_norm"), ("query", "key"), ("q_proj", "k_proj"))
"""Names of the modules that output queries and keys: in timm, in transformers 4, and in transformers 5."""
_CLASS_TOKENS = ("cls_token", "class_embedding")
"""Names of the parameters of timm and transformers that are class tokens."""
_PREFIX_TOKENS = (*_CLASS_TOKENS, "distillation_token")
"""Names of the parameters of transformers that are tokens before the patches, beside registers."""
_OTHERS = "give one of our models, or a plain ViT of timm or transformers"


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How to read a model: the attention map of each layer, the module that outputs its features, and the geometry.

    ``layers`` name modules of the whole model. An entry is ``None`` if its layer does not compare tokens, which is
    allowed only if maps are not needed. A class token is the first token. ``run`` takes images and the number of the
    last layer that must run.
    """

    model: nn.Module
    layers: tuple[Any, ...]
    """``AttentionRows``, or ``None`` where attention compares no tokens."""
    features: tuple[str, ...]
    num_heads: int
    patch_size: tuple[int, int]
    num_prefix_tokens: int
    has_class_token: bool
    run: Callable[[Tensor, int], object]

    def choose_layers(self, layers: Sequence[int] | None) -> tuple[int, ...]:
        """Zero-based numbers of the chosen layers; raises ``ValueError`` if one does not exist."""
        return _choose("layer", layers, len(self.layers))

    def choose_heads(self, heads: Sequence[int] | None) -> tuple[int, ...]:
        """Zero-based numbers of the chosen heads; raises ``ValueError`` if one does not exist."""
        return _choose("head", heads, self.num_heads)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches."""
        return height // self.patch_size[0], width // self.patch_size[1]

    def check_tokens(self, tokens: int, grid: tuple[int, int]) -> None:
        """Raise ``ValueError`` unless these are the prefix tokens and one token for each patch of the grid."""
        expected = self.num_prefix_tokens + grid[0] * grid[1]
        if tokens != expected:
            raise ValueError(
                f"{type(self.model).__name__} has {tokens} tokens for {grid[0]} x {grid[1]} patches instead of "
                f"{expected}: which of them are the patches cannot be told, {_OTHERS}"
            )


def _choose(what: str, chosen: Sequence[int] | None, count: int) -> tuple[int, ...]:
    numbers = tuple(range(count) if chosen is None else chosen)
    for number in numbers:
        if not -count <= number < count:
            raise ValueError(
                f"there is no {what} {number}: the model has {what}s 0 to {count - 1} (or -1 for the last)"
            )
    if not numbers:
        raise ValueError(f"no {what} was given: the model has {what}s 0 to {count - 1}")
    return tuple(number % count for number in numbers)


def reader(model: nn.Module, *, attention: bool = True) -> Reader:
    """How to read attention from ``model``: a model of this package, or a ViT of timm or transformers.

    Args:
        attention: whether maps are needed, or only features.

    Raises:
        ValueError: its attention does not compare tokens, or its queries and keys are not outputs of modules.
    """
    return _own(model, attention) if isinstance(model, Backbone) else _foreign(model)


def _own(model: Backbone, attention: bool) -> Reader:
    layers, features = [], []
    for number, block in enumerate(model.blocks):
        rows, parent = attention_of(block).rows, f"blocks.{number}.{block.attention}"
        if attention and rows is None:
            kind = type(model).__name__
            raise ValueError(f"{kind} has no softmax attention in its blocks: there are no maps to show")
        layers.append(rows and replace(rows, query=f"{parent}.{rows.query}", key=f"{parent}.{rows.key}"))
        features.append(f"{parent}.projection")
    return Reader(
        model=model,
        layers=tuple(layers),
        features=tuple(features),
        num_heads=model.config.num_heads,
        patch_size=model.patch_size,
        num_prefix_tokens=model.num_prefix_tokens,
        has_class_token=model.num_prefix_tokens > 0,
        run=lambda images, last: model.forward_intermediates(
            images, [last], stop_early=True, output_fmt="NLC", intermediates_only=True
        ),
    )


def _foreign(model: Any) -> Reader:
    names = dict(model.named_modules())
    pairs = [
        AttentionRows(f"{parent}.{query}", f"{parent}.{key}")
        for query, key in _FOREIGN_PAIRS
        for parent in names
        if {f"{parent}.{query}", f"{parent}.{key}"} <= names.keys()
    ]
    config: Any = getattr(model, "config", None)
    kind = type(model).__name__
    parameters = [name for name, _ in model.named_parameters()]
    moved = any("rope" in name for name in names) or any("relative_position" in name for name in parameters)
    if not pairs or moved:  # a map is then no softmax of the products of queries and keys
        raise ValueError(f"the queries and keys of {kind} cannot be read: {_OTHERS}")
    if hasattr(config, "mask_ratio"):
        raise ValueError(f"{kind} shuffles and hides patches: load its weights into a ViT that does not")
    if hasattr(model, "forward_features"):
        patch, prefix = model.patch_embed.patch_size, model.num_prefix_tokens
        num_heads, forward = model.blocks[0].attn.num_heads, model.forward_features
    elif hasattr(config, "patch_size"):
        resampled = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        forward = partial(model, interpolate_pos_encoding=True) if resampled else model
        special = sum(name.endswith(_PREFIX_TOKENS) for name in parameters)
        patch, prefix = config.patch_size, special + getattr(config, "num_register_tokens", 0)
        num_heads = config.num_attention_heads
    else:
        raise ValueError(f"{kind} does not define its patch size: give a ViT of timm or transformers")
    return Reader(
        model=model,
        layers=tuple(pairs),
        features=tuple(rows.key for rows in pairs),
        num_heads=num_heads,
        patch_size=(patch, patch) if isinstance(patch, int) else tuple(patch),
        num_prefix_tokens=prefix,
        has_class_token=any(name.endswith(_CLASS_TOKENS) for name in parameters),
        run=lambda images, last: forward(images),
    )


def preprocessing_of(model: nn.Module) -> Preprocessing:
    """The preprocessing of a model: from its attribute ``preprocessing``, or from timm's ``pretrained_cfg``.

    Raises:
        ValueError: the model has neither, like models of transformers, where the image processor has the statistics.
    """
    if preprocessing := getattr(model, "preprocessing", None):
        return preprocessing
    stored = getattr(model, "pretrained_cfg", None) or {}
    if not (stored.get("mean") and stored.get("std")):
        raise ValueError(
            f"{type(model).__name__} does not define the normalisation of its images: set model.preprocessing = "
            "Preprocessing(mean=..., std=...), as in its image processor"
        )
    return Preprocessing(mean=tuple(stored["mean"]), std=tuple(stored["std"]))
