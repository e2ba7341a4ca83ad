"""A model from its configuration and a complete, checked set of tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor

from crate_transformer.models import Model, ModelConfig


def assemble(
    model_class: type[Model],
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    stored_names: Mapping[str, str] | None = None,
) -> Model:
    """Build a model around the tensors, in evaluation mode; half-precision tensors become float32.

    Args:
        tensors: under the model's own names.
        stored_names: own name to the name in the file, for messages.

    Raises:
        ValueError: a tensor is missing, unknown, of another shape or kind, or not finite; the message names it.
    """
    if config.depth > len(tensors):
        raise ValueError(f"depth is {config.depth}, but there are only {len(tensors)} tensors")
    try:
        with torch.device("meta"):
            model = model_class(config)
    except (TypeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"this configuration describes no {model_class.__name__}: {config}") from error
    expected = model.state_dict()
    stored_names = stored_names or {}
    for key in tensors:
        if key not in expected:
            raise ValueError(f"tensor {stored_names.get(key, key)!r} belongs to no part of this {model_class.__name__}")
    state = {}
    for key, parameter in expected.items():
        if key not in tensors:
            raise ValueError(f"tensor {stored_names.get(key, key)!r} is missing")
        state[key] = _checked(stored_names.get(key, key), tensors[key], parameter)
    model.load_state_dict(state, assign=True)
    return model.eval()


def _checked(name: str, tensor: Tensor, parameter: Tensor) -> Tensor:
    if tensor.shape != parameter.shape:
        raise ValueError(f"tensor {name!r} has shape {tuple(tensor.shape)}, expected {tuple(parameter.shape)}")
    if tensor.is_floating_point() != parameter.is_floating_point():
        raise ValueError(f"tensor {name!r} holds {tensor.dtype} values, expected {parameter.dtype}")
    tensor = tensor.detach().to(parameter.dtype, copy=True).contiguous()
    if not tensor.isfinite().all():
        raise ValueError(f"tensor {name!r} holds values that are not finite")
    return tensor
