"""Reading the sizes of an architecture from the shapes of tensors."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from torch import Tensor


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


def as_pair(name: str, value: object) -> Any:
    """``(n, n)`` for a size ``n`` in pixels, ``(height, width)`` for two numbers; other options unchanged."""
    if name not in ("img_size", "patch_size"):
        return value
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise ValueError(f"{name} is {value}: give one number in pixels, or (height, width)")
    return pair
