"""The model that every inspection is compared with."""

import torch
from torch import nn

from crate_transformer.models import Backbone


def untrained_twin(model: nn.Module, seed: int = 0) -> Backbone:
    """A freshly initialised model of the same class and configuration, in eval mode, on the same device and in the
    same dtype. The global random state is left as it was.

    Raises:
        ValueError: the model is not one of ours.
    """
    if not isinstance(model, Backbone):
        raise ValueError(f"how to initialise a {type(model).__name__} is not known here: give untrained=...")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        twin = type(model)(model.config)
    parameter = next(model.parameters())
    for name in ("preprocessing", "class_names", "exclusive_classes"):
        setattr(twin, name, getattr(model, name))
    return twin.to(parameter.device, parameter.dtype).eval()
