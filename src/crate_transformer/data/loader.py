"""Batches for training, resumable bit for bit at any step, and batches for evaluation, in order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from crate_transformer.data.augment import EvalView
from crate_transformer.data.batches import BatchLoader, OrderedBatches, TrainBatches, TrainIndices
from crate_transformer.data.order import Order
from crate_transformer.data.source import Samples, View
from crate_transformer.data.transforms import normalise
from crate_transformer.models.preprocessing import Preprocessing


def train_loader(
    source: Samples,
    view: View,
    *,
    size: tuple[int, int] | Callable[[int], tuple[int, int]],
    batch_size: int,
    steps: int,
    start_step: int = 0,
    seed: int = 0,
    order: Order | None = None,
    rank: int = 0,
    world_size: int = 1,
    accumulate: int = 1,
    num_workers: int = 0,
) -> BatchLoader:
    """The batches of the steps ``start_step`` to ``steps - 1``: the ``view`` of each image, ``labels`` (or ``targets``)
    and ``positions``, the positions of the images in the endless sequence of ``order``.

    Every batch is full; a small data set is repeated. The random numbers of a view depend only on ``seed`` and the
    position of the image: several processes together see the same data as one process, whatever ``start_step``,
    ``num_workers`` and ``accumulate`` are.

    Args:
        size: Height and width of the inputs, or a function of the step.
        batch_size: Images per step over all ranks. A step is divided into ``accumulate`` parts, and each part is
            divided among the ranks, in the order of the sequence.
        order: Default: random order without repetition.
    """
    if len(source) == 0:
        raise ValueError("there are no images to train on")
    parts = world_size * accumulate
    if batch_size < 1 or batch_size % parts:
        of = f"{world_size} processes" + (f" times {accumulate} parts" if accumulate > 1 else "")
        raise ValueError(f"batch_size is {batch_size}: it must be a positive multiple of the {of}")
    indices = TrainIndices(
        order or Order(len(source), seed),
        size if callable(size) else lambda _step: size,
        batch_size,
        range(start_step, steps),
        accumulate,
        rank,
        world_size,
    )
    return BatchLoader(TrainBatches(source, view, seed), indices, num_workers)


def ordered_loader(
    source: Samples,
    view: View,
    *,
    size: tuple[int, int],
    batch_size: int,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> BatchLoader:
    """All samples once, in order, as batches like those of ``train_loader``; unreadable images are skipped.

    ``positions`` are the indices of the samples. The view gets no random numbers.

    Args:
        rank: Each rank gets every ``world_size``-th sample, starting at ``rank``.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it must be at least 1")
    own = range(rank, len(source), world_size)
    indices = [own[n : n + batch_size] for n in range(0, len(own), batch_size)]
    return BatchLoader(OrderedBatches(source, view, size), indices, num_workers)


def eval_loader(
    source: Samples,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> "EvalLoader":
    """All images once, in order, with the model's evaluation preprocessing, as (images, labels); see
    ``ordered_loader``."""
    view, size = EvalView(preprocessing), preprocessing.img_size
    return EvalLoader(
        ordered_loader(
            source,
            view,
            size=size,
            batch_size=batch_size,
            num_workers=num_workers,
            rank=rank,
            world_size=world_size,
        ),
        preprocessing,
    )


@dataclass(frozen=True)
class EvalLoader:
    """Yields (images, labels) ready for the model; targets instead of labels if images have several classes."""

    batches: BatchLoader
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(
        self,
    ) -> Iterator[
        tuple[Float[Tensor, "batch 3 height width"], Int64[Tensor, " batch"] | Float[Tensor, "batch classes"]]
    ]:
        for batch in self.batches:
            said = batch["targets"] if "targets" in batch else batch["labels"]
            yield normalise(batch["images"], self.preprocessing), said
