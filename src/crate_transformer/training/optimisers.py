"""Optimisers of a task's parameters."""

import re
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import nn

from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.models import Backbone, Model
from crate_transformer.training.muon import Muon
from crate_transformer.training.precision import MixedPrecision
from crate_transformer.training.task import Task


def build_optimizers(task: Task, config: OptimiserConfig, products: MixedPrecision) -> list[torch.optim.Optimizer]:
    """AdamW, Lion (arXiv 2302.06675), or Muon for the blocks' matrices with AdamW for the rest (arXiv 2502.16982).

    Args:
        products: precision of Muon's products.
    """
    named = {name: parameter for name, parameter in task.named_parameters() if parameter.requires_grad}
    matrices = {}
    if config.optimizer == "muon":
        matrices = {name: p for name, p in named.items() if re.search(r"(^|\.)blocks\.", name) and p.ndim == 2}
    rest = parameter_groups({name: p for name, p in named.items() if name not in matrices}, task, config)
    if config.optimizer == "lion":
        from lion_pytorch import Lion

        return [Lion(rest, lr=config.learning_rate, betas=config.betas)]
    optimizers: list[torch.optim.Optimizer] = []
    if rest:
        optimizers.append(torch.optim.AdamW(rest, lr=config.learning_rate, betas=config.betas, fused=True))
    if matrices:
        groups = parameter_groups(matrices, task, config)
        rate, dtype = config.matrix_learning_rate, torch.bfloat16 if products == "bf16" else torch.float32
        optimizers.append(Muon(groups, lr=rate, weight_decay=config.weight_decay, products=dtype))
    return optimizers


def parameter_groups(named: dict[str, nn.Parameter], task: Task, config: OptimiserConfig) -> list[dict[str, object]]:
    """Parameters that are treated alike: matrices decay, vectors and the model's ``no_weight_decay`` do not.

    ``lr_scale`` is what ``layer_decay`` leaves of the learning rate in their layer (arXiv 2003.10555).
    """
    spared = {f"model.{name}" for name in task.model.no_weight_decay()}
    lr_scale = _layer_scales(task.model, config.layer_decay)
    groups = defaultdict(list)
    for name, parameter in named.items():
        decay = config.weight_decay if parameter.ndim >= 2 and name not in spared else 0.0
        groups[decay, lr_scale(name)].append(parameter)
    return [{"params": group, "weight_decay": decay, "lr_scale": scale} for (decay, scale), group in groups.items()]


def _layer_scales(model: Model, layer_decay: float) -> Callable[[str], float]:
    """The fraction of the learning rate of a parameter: 1 in the last layer and outside of ``model``."""
    if layer_decay == 1:
        return lambda _name: 1.0
    if not isinstance(model, Backbone):
        raise ValueError(
            f"layer_decay is {layer_decay}: {type(model).__name__} does not name its layers, leave it at 1"
        )
    layers, matcher = len(model.blocks), model.group_matcher()

    def lr_scale(name: str) -> float:
        name = name.removeprefix("model.")
        if re.search(matcher["stem"], name):
            layer = 0
        elif found := re.search(matcher["blocks"], name):
            layer = 1 + int(found[1])
        else:
            layer = layers + 1
        return layer_decay ** (layers + 1 - layer)

    return lr_scale
