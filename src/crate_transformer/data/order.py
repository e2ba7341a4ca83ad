"""The endless sequence of training samples, and the random numbers of each position."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(eq=False)
class Order:
    """``order(positions)`` gives the indices of the images at these positions of an endless sequence.

    The sequence consists of one random permutation of all images per epoch. Each image is seen once in every epoch,
    however the sequence is divided among processes.

    Args:
        images: number of images.
        repeats: how often each image occurs in a batch, augmented differently (repeated augmentation, arXiv
            1902.05509); an epoch then takes ``repeats`` times as many steps.
        balanced: sample every class of ``labels`` with equal probability, instead of each image once.
    """

    images: int
    seed: int
    batch_size: int = 1
    repeats: int = 1
    labels: Sequence[int] | None = None
    balanced: bool = False
    _epoch: int = field(default=-1, init=False)
    _permutation: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64), init=False)

    def __post_init__(self) -> None:
        if self.batch_size % self.repeats:
            raise ValueError(f"batch_size is {self.batch_size}: it must be a multiple of the {self.repeats} repeats")

    def __call__(self, positions: Sequence[int]) -> list[int]:
        indices = []
        different = self.batch_size // self.repeats
        for position in positions:
            batch, place = divmod(position, self.batch_size)
            epoch, rank = divmod(batch * different + place % different, self.images)
            if epoch != self._epoch:
                self._epoch, self._permutation = epoch, self._shuffled(epoch)
            indices.append(int(self._permutation[rank]))
        return indices

    def _shuffled(self, epoch: int) -> np.ndarray:
        random = np.random.default_rng((self.seed, epoch))
        if not self.balanced:
            return random.permutation(self.images)
        labels = np.asarray(self.labels)
        weights = 1 / np.bincount(labels)[labels]
        return random.choice(self.images, size=self.images, p=weights / weights.sum())


class SampleRandom:
    """``random(position)`` gives the random generator of one position; its numbers depend only on seed and position.

    It is a single Philox sequence for the seed, with a separate offset for each position. The generator is valid until
    the next call.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.Philox(key=np.random.SeedSequence(seed).generate_state(2, np.uint64))
        self._state = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def __call__(self, position: int) -> np.random.Generator:
        self._state["state"]["counter"][:] = (0, position, 0, 0)
        self._state["buffer_pos"], self._state["has_uint32"] = 4, 0  # discard numbers of the previous position
        self._bits.state = self._state
        return self._generator
