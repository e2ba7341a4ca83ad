"""What a run begins with, whatever it learns from."""

from collections.abc import Callable
from dataclasses import dataclass

from crate_transformer.data import Samples
from crate_transformer.models import Model


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """The model to train, and what it is trained and measured on.

    ``size`` tells height and width of what the model sees at each step; ``split`` is what the checkpoint is to say of
    how the data was divided, ``None`` for nothing.
    """

    model: Model
    train: Samples
    held_out: Samples
    size: Callable[[int], tuple[int, int]]
    split: object | None
