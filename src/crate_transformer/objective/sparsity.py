r"""Sparsity of tokens, and the full objective of CRATE."""

import torch
from jaxtyping import Float
from torch import Tensor

from crate_transformer.objective.coding_rate import rate_reduction


def nonzero_fraction(z: Float[Tensor, "*batch tokens dim"]) -> Float[Tensor, "*batch"]:
    r"""Fraction of entries that are not exactly zero, :math:`\|Z\|_0 / (d N)`, between 0 and 1; its gradient is zero.

    It is NaN where an entry is NaN.

    Raises:
        ValueError: there are no entries.
    """
    entries = z.shape[-2] * z.shape[-1]
    if entries == 0:
        raise ValueError(f"the non-zero fraction of {z.shape[-2]} tokens of dimension {z.shape[-1]} is not defined")
    fraction = z.count_nonzero(dim=(-2, -1)).to(torch.promote_types(z.dtype, torch.float32)) / entries
    return fraction.masked_fill(z.isnan().flatten(-2).any(dim=-1), torch.nan)


def sparse_rate_reduction(
    z: Float[Tensor, "*batch tokens dim"],
    projected: Float[Tensor, "*batch heads tokens head_dim"],
    *,
    epsilon_squared: float,
    sparsity_weight: float,
) -> Float[Tensor, "*batch"]:
    r"""The objective that every CRATE layer should increase, :math:`R(Z) - R^c(Z \mid U_{[K]}) - \lambda \|Z\|_0`.

    (arXiv 2306.01129, section 2.) :math:`\|Z\|_0` is the number of non-zero entries of all tokens of an item, not
    divided by their number. It is piecewise constant, so the gradient is that of the rate reduction alone.

    Raises:
        ValueError: ``epsilon_squared`` is not positive, or there are no tokens.
    """
    reduction = rate_reduction(z, projected, epsilon_squared=epsilon_squared)
    return reduction - sparsity_weight * z.count_nonzero(dim=(-2, -1))
