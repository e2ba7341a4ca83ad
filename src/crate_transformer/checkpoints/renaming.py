"""Renaming and rearranging the tensors of an official checkpoint."""

import re
from collections.abc import Mapping

from einops import EinopsError, rearrange
from torch import Tensor

from crate_transformer.models import Model


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
