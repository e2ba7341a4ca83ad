"""The untrained control of a model."""

import torch
from torch import nn

from crate_transformer.models import Backbone


def untrained_twin(model: nn.Module, seed: int = 0) -> Backbone:
    """A randomly initialised model of the same class and configuration, in evaluation mode, on the same device and with
    the same dtype. The global random state is not changed.

    Raises:
        ValueError: it is not a model of this package.
    """
    if not isinstance(model, Backbone):
        raise ValueError(f"this package cannot initialise {type(model).__name__}: give untrained=...")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        twin = type(model)(model.config)  # pyright: ignore[reportCallIssue] -- a family needs no more
    parameter = next(model.parameters())
    for name in ("preprocessing", "class_names", "exclusive_classes"):
        setattr(twin, name, getattr(model, name))
    return twin.to(parameter.device, parameter.dtype).eval()
