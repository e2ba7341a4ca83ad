"""The optimiser."""

from dataclasses import dataclass
from typing import Literal, get_args

from crate_transformer.configs.checks import check_choice, check_not_negative, check_positive

Optimizer = Literal["adamw", "lion", "muon"]


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """The optimiser, its learning rates and weight decay."""

    optimizer: Optimizer = "adamw"
    """muon: Muon for the matrices of the blocks, AdamW for the other parameters."""
    learning_rate: float = 1.5e-3
    matrix_learning_rate: float = 4e-3
    """Learning rate of Muon, on the scale of AdamW's."""
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05
    """Weight decay of matrices; norms, biases, class token and position embeddings are not decayed."""
    layer_decay: float = 1.0
    """Layer-wise learning rate decay (arXiv 2003.10555): learning rate of each block relative to the next one."""
    clip_grad_norm: float = 1.0
    """Clip the gradient to this norm; 0 disables clipping."""

    def __post_init__(self) -> None:
        check_choice(self, "optimizer", get_args(Optimizer))
        check_positive(self, "learning_rate", "matrix_learning_rate")
        check_not_negative(self, "weight_decay", "clip_grad_norm")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {self.betas}: each must be at least 0 and less than 1")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}: it must be greater than 0 and at most 1")
