"""Stochastic depth."""

from jaxtyping import Float
from torch import Tensor


def drop_path(
    before: Float[Tensor, "batch *tokens"], after: Float[Tensor, "batch *tokens"], rate: float
) -> Float[Tensor, "batch *tokens"]:
    r"""Each sample skips a block with probability ``rate`` (arXiv 1603.09382): what the block did is multiplied by
    :math:`b / (1 - \text{rate})` with :math:`b \sim \mathrm{Bernoulli}(1 - \text{rate})`, so that its mean stays."""
    if rate == 0:
        return after
    keep = before.new_empty(len(before), *[1] * (before.ndim - 1)).bernoulli_(1 - rate)
    return before + (after - before) * keep / (1 - rate)
