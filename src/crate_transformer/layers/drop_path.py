"""Stochastic depth."""

from jaxtyping import Float
from torch import Tensor


def drop_path(
    before: Float[Tensor, "batch *tokens"],
    after: Float[Tensor, "batch *tokens"],
    rate: float,
    uniforms: Float[Tensor, " samples"] | None = None,
) -> Float[Tensor, "batch *tokens"]:
    r"""Each sample skips a block with probability ``rate`` (arXiv 1603.09382): the change made by the block is
    multiplied by :math:`b / (1 - \text{rate})` with :math:`b \sim \mathrm{Bernoulli}(1 - \text{rate})`, which keeps
    its mean.

    Args:
        uniforms: A number in [0, 1) for each sample, which skips the block if the number is below ``rate``; by default
            drawn from PyTorch's generator.

    Raises:
        ValueError: There is not exactly one number for each sample.
    """
    if rate == 0:
        return after
    if uniforms is None:
        keep = before.new_empty(len(before)).bernoulli_(1 - rate)
    elif len(uniforms) == len(before):
        keep = (uniforms >= rate).to(before.dtype)
    else:
        raise ValueError(f"there are random numbers for {len(uniforms)} samples, but the batch has {len(before)}")
    return before + (after - before) * keep.view(-1, *[1] * (before.ndim - 1)) / (1 - rate)
