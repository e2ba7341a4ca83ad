"""Model and data at the start of a run."""

from collections.abc import Callable
from dataclasses import dataclass

from crate_transformer.data import Samples
from crate_transformer.models import Model


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """The model to train, and its training and held-out data.

    ``size`` gives height and width of the inputs at each step; ``split`` describes the division of the data for the
    checkpoint, or is ``None``.
    """

    model: Model
    train: Samples
    held_out: Samples
    size: Callable[[int], tuple[int, int]]
    split: object | None
