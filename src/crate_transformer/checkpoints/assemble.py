"""Building a model from its configuration and a complete, validated set of tensors."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor

from crate_transformer.models import Model, ModelConfig, SegmenterConfig

_COUNTS = ("depth", "decoder_depth", "num_class_layers", "cross_depth")
"""Options that determine the number of layers, each of which has tensors."""


def assemble(
    model_class: type[Model],
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    stored_names: Mapping[str, str] | None = None,
) -> Model:
    """Build a model around the tensors, in evaluation mode; half-precision tensors become float32.

    Args:
        tensors: tensors by the model's own names.
        stored_names: own name -> name in the file, for error messages.

    Raises:
        ValueError: a tensor is missing, unknown, not finite, or has a wrong shape or dtype; the message names it.
    """
    model, stored_names = without_values(model_class, config, len(tensors)), stored_names or {}
    _check_names(model, tensors, stored_names)
    state = {}
    for key, parameter in model.state_dict().items():
        name = stored_names.get(key, key)
        _check_shape(name, tensors[key], parameter)
        state[key] = tensors[key].detach().to(parameter.dtype, copy=True).contiguous()
        _check_finite(name, state[key])
    model.load_state_dict(state, assign=True)
    return model.eval()


def check_complete(model_class: type[Model], config: ModelConfig, tensors: Mapping[str, Tensor]) -> None:
    """Check whether ``assemble`` can build a model from these tensors; raises the same errors."""
    model = without_values(model_class, config, len(tensors))
    _check_names(model, tensors, {})
    for key, parameter in model.state_dict().items():
        _check_shape(key, tensors[key], parameter)
        _check_finite(key, tensors[key])


def without_values(model_class: type[Any], config: ModelConfig, num_tensors: int) -> Model:
    """The model on the ``meta`` device, which needs no memory."""
    parts = (config.backbone, config.decoder) if isinstance(config, SegmenterConfig) else (config,)
    for part, name in product(parts, _COUNTS):
        if (getattr(part, name, None) or 0) > num_tensors:
            raise ValueError(f"{name} is {getattr(part, name)}, but there are only {num_tensors} tensors")
    try:
        with torch.device("meta"):
            return model_class(config)
    except (TypeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"this configuration is not valid for {model_class.__name__}: {config}") from error


def _check_names(model: Model, tensors: Mapping[str, Tensor], stored_names: Mapping[str, str]) -> None:
    expected = model.state_dict().keys()
    for key in tensors:
        if key not in expected:
            raise ValueError(f"tensor {stored_names.get(key, key)!r} is not part of this {type(model).__name__}")
    for key in expected:
        if key not in tensors:
            raise ValueError(f"tensor {stored_names.get(key, key)!r} is missing")


def _check_shape(name: str, tensor: Tensor, parameter: Tensor) -> None:
    if tensor.shape != parameter.shape:
        raise ValueError(f"tensor {name!r} has shape {tuple(tensor.shape)}, expected {tuple(parameter.shape)}")
    if tensor.is_floating_point() != parameter.is_floating_point():
        raise ValueError(f"tensor {name!r} has dtype {tensor.dtype}, expected {parameter.dtype}")


def _check_finite(name: str, tensor: Tensor) -> None:
    if not tensor.isfinite().all():
        raise ValueError(f"tensor {name!r} contains values that are not finite")
