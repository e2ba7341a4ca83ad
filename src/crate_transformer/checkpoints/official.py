"""Definition of an official checkpoint format: how it is recognised, and how its tensors are renamed."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from einops import EinopsError, rearrange
from torch import Tensor

from crate_transformer.models import DEPICTConfig, Model, ModelConfig, choices


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A converted official checkpoint; every stored tensor is either in ``tensors`` or in ``dropped``."""

    model_class: type[Model]
    config: ModelConfig
    tensors: dict[str, Tensor]
    stored_names: dict[str, str]
    """Own name -> official name."""
    inferred: dict[str, Any]
    assumed: dict[str, Any] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    preprocessing: dict[str, Any] = field(default_factory=dict)
    """Fields of ``Preprocessing`` that differ from its defaults."""


@dataclass(frozen=True)
class OfficialFormat:
    """One published checkpoint format. ``convert(tensors, hints)`` raises a ``ValueError`` that names the tensor."""

    name: str
    recognises: Callable[[AbstractSet[str]], bool]
    convert: Callable[[Mapping[str, Tensor], Mapping[str, Any]], Converted]
    restore: tuple[type[Model], Callable[[Any], dict[str, Any]]] | None = None
    """The family that can be written in this format, and a function that makes the object for ``torch.save``."""


def rename(tensors: Mapping[str, Tensor], table: Mapping[str, str]) -> dict[str, Tensor]:
    """Rename tensors by a complete table, official name -> own name.

    Raises:
        ValueError: a tensor is not in the table, or a tensor of the table is missing.
    """
    for key in tensors:
        if key not in table:
            raise ValueError(f"tensor {key!r} is unknown in this checkpoint format")
    for key in table:
        if key not in tensors:
            raise ValueError(f"tensor {key!r} is missing")
    return {own: tensors[key] for key, own in table.items()}


def weights(modules: Mapping[str, str]) -> dict[str, str]:
    """The renamings of the weights of modules, official name to own name."""
    return {f"{official}.weight": f"{own}.weight" for official, own in modules.items()}


def weights_and_biases(modules: Mapping[str, str]) -> dict[str, str]:
    """The renamings of the weights and biases of modules, official name to own name."""
    return weights(modules) | {f"{official}.bias": f"{own}.bias" for official, own in modules.items()}


def unfold(in_layer: Mapping[str, str], depth: int, recurrences: int = 1) -> dict[str, str]:
    """The renamings of one layer, expanded to all layers ``l``; ``even`` is twice the layer number.

    Args:
        recurrences: blocks per layer; the first one owns its tensors.
    """
    return {
        key.format(l=layer, even=2 * layer): own.format(l=layer * recurrences)
        for layer in range(depth)
        for key, own in in_layer.items()
    }


def rename_back(model: Model, table: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors of a model by their official names; rows of the table for parts that it lacks are skipped.

    Raises:
        ValueError: the model has a tensor without an official name.
    """
    state, names = model.state_dict(), {own: key for key, own in table.items()}
    for own in state:
        if own not in names:
            raise ValueError(f"the official format cannot store the tensor {own!r} of this {type(model).__name__}")
    return {names[own]: tensor.detach().cpu().contiguous() for own, tensor in state.items()}


def drop(tensors: Mapping[str, Tensor], reasons: Mapping[str, str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors whose names match no pattern in ``reasons``, and the names of the others with their reason."""
    dropped = {key: reason for key in tensors for pattern, reason in reasons.items() if re.fullmatch(pattern, key)}
    return {key: tensors[key] for key in tensors if key not in dropped}, dropped


def permute_axes(tensors: Mapping[str, Tensor], patterns: Mapping[str, str], **sizes: int) -> dict[str, Tensor]:
    """Permute axes to this package's order; ``patterns`` maps the end of a tensor's name to an einops pattern.

    Raises:
        ValueError: the axes of a tensor do not match its pattern.
    """
    arranged = dict(tensors)
    for key, tensor in tensors.items():
        for end, pattern in patterns.items():
            if key.endswith(end):
                axes = pattern.partition(" -> ")[0]
                try:
                    known = {axis: size for axis, size in sizes.items() if axis in re.findall(r"\w+", axes)}
                    arranged[key] = rearrange(tensor, pattern, **known)
                except EinopsError as error:
                    raise ValueError(f"tensor {key!r} has shape {tuple(tensor.shape)}, expected ({axes})") from error
    return arranged


def count_layers(keys: AbstractSet[str], pattern: str) -> int:
    """The number of different layer numbers matched by the first group of ``pattern``."""
    return len({found[1] for key in keys if (found := re.match(pattern, key))})


def common_size(tensors: Mapping[str, Tensor], axis: int, pattern: str) -> int:
    """The most frequent length of ``axis`` among tensors matching ``pattern``, so that an odd one can be named
    later."""
    named = [tensor.shape for key, tensor in tensors.items() if re.fullmatch(pattern, key)]
    sizes = Counter(shape[axis] for shape in named if -len(shape) <= axis < len(shape))
    if not sizes:
        raise ValueError(f"tensor {pattern.replace(chr(92), '')!r} has no sizes to read")
    return sizes.most_common(1)[0][0]


def validate_hints(
    config_class: type[ModelConfig | DEPICTConfig], inferred: Mapping[str, Any], hints: Mapping[str, Any]
) -> None:
    """Check hints against the tensors.

    Raises:
        ValueError: a hint is not a field of the configuration, not a number, or contradicts the tensors.
    """
    valid, words = config_class.__dataclass_fields__, choices(config_class)
    for name, value in hints.items():
        if name not in valid:
            raise ValueError(f"{name!r} is not an option of this model; its options are {', '.join(sorted(valid))}")
        checked_later = name in ("img_size", "patch_size") or name in words
        if not checked_later and not _is_number(value, valid[name].default):
            raise ValueError(f"{name}={value!r} is not a valid number for this option")
        if name in inferred and as_pair(name, inferred[name]) != as_pair(name, value):
            raise ValueError(f"{name}={value} contradicts the tensors, which say {inferred[name]}")


def _is_number(value: object, default: object) -> bool:
    """Whether an option with this default can have this value: an integer if the default is one."""
    if value is None:
        return default is None
    kinds = int | float if isinstance(default, float) else int
    return isinstance(value, kinds) and (isinstance(value, int) or math.isfinite(value))


def as_pair(name: str, value: object) -> Any:
    """``(n, n)`` for a size ``n`` in pixels, ``(height, width)`` for two numbers; other options unchanged."""
    if name not in ("img_size", "patch_size"):
        return value
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise ValueError(f"{name} is {value}: give one number in pixels, or (height, width)")
    return pair


def count_positions(name: str, table: Tensor, dim: int) -> int:
    """Number of rows of a position table ``(1, tokens, dim)``.

    Raises:
        ValueError: it has another shape.
    """
    if table.ndim != 3 or table.shape[0] != 1 or table.shape[1] < 2 or table.shape[2] != dim:
        raise ValueError(f"tensor {name!r} has shape {tuple(table.shape)}, expected (1, tokens, {dim})")
    return table.shape[1]


def resolve_num_heads(num_heads: int | None, inner_dim: int, dim: int, depth: int) -> int:
    """The number of heads, checked against the rows of the shared projection.

    Raises:
        ValueError: the number is unknown, or it does not divide the rows.
    """
    if num_heads is None:
        raise ValueError(
            "the number of heads cannot be inferred from the tensors, and embed_dim "
            f"{dim} with depth {depth} is not a published size: give num_heads="
        )
    if num_heads < 1 or inner_dim % num_heads:
        raise ValueError(f"num_heads={num_heads} does not divide the {inner_dim} rows of the shared projection")
    return num_heads


def infer_patches(patch_dim: int, num_patches: int, hints: Mapping[str, Any]) -> dict[str, Any]:
    """``patch_size``, ``in_chans`` and ``img_size`` from the length of a flattened patch and the number of patches.

    Without hints: square patches with 3 channels on a square grid.

    Raises:
        ValueError: no value fits, or several do; the message names the hint that is needed.
    """
    in_chans = hints.get("in_chans", 3)
    if "patch_size" in hints:
        rows, columns = as_pair("patch_size", hints["patch_size"])
        in_chans = patch_dim // (rows * columns)
    else:
        rows = columns = math.isqrt(patch_dim // in_chans) if in_chans > 0 else 0
    if rows * columns * in_chans != patch_dim or not patch_dim:
        given = ", ".join(f"{name}={hints[name]}" for name in ("patch_size", "in_chans") if name in hints)
        raise ValueError(
            f"a patch of {patch_dim} values does not match {given or 'a square patch with 3 channels'}: "
            "give patch_size=(rows, columns), in_chans= or both"
        )
    if "img_size" in hints:
        height, width = as_pair("img_size", hints["img_size"])
        if height % rows or width % columns or (height // rows) * (width // columns) != num_patches:
            raise ValueError(
                f"img_size={hints['img_size']} does not give the {num_patches} patches of {rows} x {columns}"
            )
    else:
        side = math.isqrt(max(num_patches, 0))
        if side < 1 or side * side != num_patches:
            raise ValueError(f"{num_patches} patches are not a square grid: give img_size=(height, width) in pixels")
        height, width = side * rows, side * columns
    sizes = {"patch_size": (rows, columns), "img_size": (height, width)}
    return {
        **{name: pair[0] if pair[0] == pair[1] else pair for name, pair in sizes.items()},
        "in_chans": in_chans,
    }
