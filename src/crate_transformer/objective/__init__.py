"""The sparse rate reduction objective as pure, batched, differentiable functions of tensors."""

from crate_transformer.objective.coding_rate import coding_rate, rate_reduction, subspace_coding_rate
from crate_transformer.objective.lasso import lasso
from crate_transformer.objective.sparsity import nonzero_fraction, sparse_rate_reduction

__all__ = [
    "coding_rate",
    "lasso",
    "nonzero_fraction",
    "rate_reduction",
    "sparse_rate_reduction",
    "subspace_coding_rate",
]
