"""Optimisers."""

from collections.abc import Iterable

import torch
from torch import nn

from crate_transformer.training.config import TrainConfig
from crate_transformer.training.muon import Muon
from crate_transformer.training.precision import choose_products


def parameter_groups(
    parameters: Iterable[tuple[str, nn.Parameter]], spared: set[str], weight_decay: float
) -> list[dict[str, object]]:
    """Two groups: matrices decay; vectors and the names in ``spared`` do not."""
    decayed, rest = [], []
    for name, parameter in parameters:
        (decayed if parameter.ndim >= 2 and name not in spared else rest).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def build_optimizers(model: nn.Module, config: TrainConfig, device: torch.device) -> list[torch.optim.Optimizer]:
    """AdamW, Lion (arXiv 2302.06675), or Muon for the blocks' matrices with AdamW for the rest (arXiv 2502.16982).

    Args:
        device: where the model will be trained.
    """
    if config.optimizer == "lion":
        from lion_pytorch import Lion

        groups = parameter_groups(model.named_parameters(), model.no_weight_decay(), config.weight_decay)
        return [Lion(groups, lr=config.learning_rate, betas=config.betas)]
    matrices = {}
    if config.optimizer == "muon":
        matrices = {name: p for name, p in model.named_parameters() if name.startswith("blocks.") and p.ndim == 2}
    rest = [(name, p) for name, p in model.named_parameters() if name not in matrices]
    groups = parameter_groups(rest, model.no_weight_decay(), config.weight_decay)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
    ]
    if matrices:
        optimizers.append(
            Muon(
                matrices.values(),
                lr=config.matrix_learning_rate,
                weight_decay=config.weight_decay,
                products=choose_products(device),
            )
        )
    return optimizers
