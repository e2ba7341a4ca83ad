"""Optimisers."""

from collections.abc import Iterable

import torch
from torch import nn

from crate_transformer.training.config import TrainConfig


def parameter_groups(
    parameters: Iterable[tuple[str, nn.Parameter]], spared: set[str], weight_decay: float
) -> list[dict[str, object]]:
    """Two groups: matrices decay; vectors and the names in ``spared`` do not."""
    decayed, rest = [], []
    for name, parameter in parameters:
        (decayed if parameter.ndim >= 2 and name not in spared else rest).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def build_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW, Lion (arXiv 2302.06675), or Muon for the blocks' matrices with AdamW for the rest (arXiv 2502.16982).

    ``"auto"`` is Muon where this PyTorch has it.
    """
    has_muon = hasattr(torch.optim, "Muon")
    if config.optimizer == "lion":
        from lion_pytorch import Lion

        groups = parameter_groups(model.named_parameters(), model.no_weight_decay(), config.weight_decay)
        return [Lion(groups, lr=config.learning_rate, betas=config.betas)]
    matrices = []
    if config.optimizer == "muon" or (config.optimizer == "auto" and has_muon):
        if not has_muon:
            raise ValueError(f"optimizer 'muon' needs PyTorch 2.9 or newer, this is {torch.__version__}: use 'adamw'")
        matrices = [(name, p) for name, p in model.named_parameters() if name.startswith("blocks.") and p.ndim == 2]
    chosen = {name for name, _ in matrices}
    rest = [(name, p) for name, p in model.named_parameters() if name not in chosen]
    groups = parameter_groups(rest, model.no_weight_decay(), config.weight_decay)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
    ]
    if matrices:
        optimizers.append(
            torch.optim.Muon(
                [p for _, p in matrices],
                lr=config.matrix_learning_rate,
                weight_decay=config.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers
