"""Batches for training, resumable at any step bit for bit, and batches for evaluation, in order."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from crate_transformer.data.arrays import ArrayImages
from crate_transformer.data.folder import ImageFolder
from crate_transformer.data.transforms import Augment
from crate_transformer.models.preprocessing import Preprocessing

Images = ImageFolder | ArrayImages


def train_loader(
    images: Images,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    steps: int,
    start_step: int = 0,
    seed: int = 0,
    augment: Augment | None = None,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    sizes: Callable[[int], tuple[int, int]] | None = None,
) -> "ImageLoader":
    """The batches of the steps ``start_step`` to ``steps - 1``, as (images, labels).

    The pictures are taken from one endless sequence of random orders, one order per epoch, so every batch is full and a
    small set simply repeats. The random numbers of a picture's crop depend on ``seed`` and its place in that sequence
    alone: several processes see together what one would see, whatever ``start_step`` and ``num_workers``.

    Args:
        batch_size: Pictures of one step over all ranks; rank ``r`` of ``world_size`` gets every ``world_size``-th.
        sizes: Height and width of the inputs by step, for a schedule of resolution.
    """
    if len(images) == 0:
        raise ValueError("there are no images to train on")
    if batch_size < 1 or batch_size % world_size:
        raise ValueError(f"batch_size is {batch_size}: it must be a positive multiple of the {world_size} processes")
    shares = _TrainShares(len(images), batch_size, steps, start_step, seed, rank, world_size)
    return ImageLoader(_Batches(images, preprocessing, augment, sizes), shares, num_workers)


def eval_loader(
    images: Images, preprocessing: Preprocessing, *, batch_size: int, num_workers: int = 0
) -> "ImageLoader":
    """All pictures once, in order, without augmentation, as (images, labels); unreadable pictures are left out."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it must be at least 1")
    shares = [(0, list(range(n, min(n + batch_size, len(images)))), None) for n in range(0, len(images), batch_size)]
    return ImageLoader(_Batches(images, preprocessing), shares, num_workers)


class ImageLoader(DataLoader):
    """A PyTorch loader whose workers make whole batches, and which reports the unreadable pictures they met."""

    def __init__(self, batches: "_Batches", shares: Sampler | list, num_workers: int):
        if num_workers < 0:
            raise ValueError(f"the number of processes that read images is {num_workers}: it must be at least 0")
        super().__init__(
            batches,
            sampler=shares,
            batch_size=None,
            num_workers=num_workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # leaves the global random state alone
            worker_init_fn=_leave_signals_to_the_main_process,
        )

    def __iter__(self) -> Iterator[tuple[Float[Tensor, "batch 3 height width"], Int64[Tensor, " batch"]]]:
        source = self.dataset.images
        batches = super().__iter__()
        while True:
            try:
                images, labels, broken = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if not str(error).startswith("DataLoader worker (pid"):
                    raise
                raise OSError(
                    "a process that reads images was ended from outside, most often because memory ran out: use fewer "
                    "such processes or smaller batches"
                ) from error
            if broken:
                source.report(broken)
            if len(labels):
                yield images, labels


def _leave_signals_to_the_main_process(_worker: int) -> None:
    """Ctrl-C and SIGTERM reach every process of a group; the main one still needs its workers, and ends them itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@dataclass(frozen=True)
class _TrainShares(Sampler):
    """Yields (step, positions of this rank's pictures, five random numbers for each of them)."""

    images: int
    batch_size: int
    steps: int
    start_step: int
    seed: int
    rank: int
    world_size: int

    def __len__(self) -> int:
        return max(0, self.steps - self.start_step)

    def __iter__(self) -> Iterator[tuple[int, list[int], np.ndarray]]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        key = np.random.SeedSequence(self.seed).generate_state(2, np.uint64)
        for step in range(self.start_step, self.steps):
            indices = []
            for position in range(step * self.batch_size, (step + 1) * self.batch_size):
                if position // self.images != epoch:
                    epoch = position // self.images
                    order = np.random.default_rng((self.seed, epoch)).permutation(self.images)
                indices.append(int(order[position % self.images]))
            # one block of Philox holds eight numbers: block n belongs to the n-th picture of the sequence
            random = np.random.Generator(np.random.Philox(key=key, counter=step * self.batch_size))
            uniforms = random.random((self.batch_size, 8), dtype=np.float32)[:, :5]
            yield step, indices[self.rank :: self.world_size], uniforms[self.rank :: self.world_size]


@dataclass(frozen=True, eq=False)
class _Batches(Dataset):
    """Maps (step, positions, random numbers) to (images, labels, unreadable pictures met so far)."""

    images: Images
    preprocessing: Preprocessing
    augment: Augment | None = None
    sizes: Callable[[int], tuple[int, int]] | None = None

    def __getitem__(self, share: tuple[int, list[int], np.ndarray | None]) -> tuple[Tensor, Tensor, dict[str, str]]:
        step, indices, random = share
        uniforms = None if random is None else torch.from_numpy(random.copy())
        preprocessing = self.preprocessing
        if self.sizes is not None:
            preprocessing = replace(preprocessing, img_size=self.sizes(step))
        images, labels = self.images.batch(indices, preprocessing, self.augment, uniforms)
        return images, labels, dict(self.images.broken) if isinstance(self.images, ImageFolder) else {}
