"""How gradients become steps."""

from dataclasses import dataclass
from typing import Literal, get_args

from crate_transformer.configs.checks import check_choice, check_not_negative, check_positive

Optimizer = Literal["adamw", "lion", "muon"]


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """The optimiser, its learning rates and what is decayed."""

    optimizer: Optimizer = "adamw"
    """muon orthogonalises the steps of the blocks' matrices, AdamW moves the rest."""
    learning_rate: float = 1.5e-3
    matrix_learning_rate: float = 4e-3
    """Of muon's part, in the scale of AdamW's."""
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05
    """On matrices only; norms, biases, class token and positions are not decayed."""
    layer_decay: float = 1.0
    """The learning rate of each block as a fraction of that of the next one (arXiv 2003.10555); 1 treats all alike."""
    clip_grad_norm: float = 1.0
    """Largest norm of the gradient; 0 leaves it alone."""

    def __post_init__(self) -> None:
        check_choice(self, "optimizer", get_args(Optimizer))
        check_positive(self, "learning_rate", "matrix_learning_rate")
        check_not_negative(self, "weight_decay", "clip_grad_norm")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {self.betas}: each must be at least 0 and below 1")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}: it must be above 0 and at most 1")
