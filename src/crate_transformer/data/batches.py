"""Batches of samples, made in worker processes or in the main process."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from crate_transformer.data.decode import BrokenImageError
from crate_transformer.data.order import Order, SampleRandom
from crate_transformer.data.source import Samples, View
from crate_transformer.data.unreadable import note_unreadable, too_many_unreadable

Batch = dict[str, Tensor]
"""What a view made of the samples (``images`` or ``tokens``), their ``labels`` or ``targets``, and ``positions``."""


class BatchLoader(DataLoader):
    """A PyTorch loader whose workers make whole batches, and which reports the unreadable images they found."""

    def __init__(self, batches: "TrainBatches | OrderedBatches", indices: Sampler | list, num_workers: int):
        if num_workers < 0:
            raise ValueError(f"num_workers is {num_workers}: it must be at least 0")
        super().__init__(
            OrError(batches),
            sampler=indices,
            batch_size=None,
            num_workers=num_workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # leaves the global random state alone
            worker_init_fn=_leave_signals_to_the_main_process,
        )
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        batches = super().__iter__()
        try:
            for found in batches:
                if isinstance(found, Exception):
                    raise found
                batch, unreadable = found
                if unreadable:
                    note_unreadable(self.batches.source, unreadable)
                if batch:
                    yield batch
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker (pid"):
                raise
            raise OSError(
                "a data-loading process was killed, most often because memory ran out: use fewer workers or smaller "
                "batches"
            ) from error
        finally:
            if isinstance(batches, _MultiProcessingDataLoaderIter):  # garbage collection may delete the queues first
                batches._shutdown_workers()


@dataclass(frozen=True, eq=False)
class OrError(Dataset):
    """The item of ``batches``, or the error it raises: from a worker, PyTorch passes on only the text of an error."""

    batches: "TrainBatches | OrderedBatches"

    def __getitem__(self, part: Any) -> tuple[Batch, dict[int, str]] | ValueError | OSError:
        try:
            return self.batches[part]
        except (ValueError, OSError) as error:
            return error


def _leave_signals_to_the_main_process(_worker: int) -> None:
    """Ignore the first Ctrl-C or SIGTERM, which reaches every process of a group: the main process still needs its
    workers and ends them itself.

    If it cannot reach them any more, it sends SIGTERM, which is the second signal.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


@dataclass(frozen=True)
class TrainIndices(Sampler):
    """Yields (size, positions, indices) of each part of each step of this rank."""

    order: Order
    size: Callable[[int], tuple[int, int]]
    batch_size: int
    steps: range
    accumulate: int
    rank: int
    world_size: int

    def __len__(self) -> int:
        return len(self.steps) * self.accumulate

    def __iter__(self) -> Iterator[tuple[tuple[int, int], range, list[int]]]:
        part = self.batch_size // self.accumulate
        own = part // self.world_size
        for step in self.steps:
            for number in range(self.accumulate):
                start = step * self.batch_size + number * part + self.rank * own
                positions = range(start, start + own)
                yield self.size(step), positions, self.order(positions)


@dataclass(frozen=True, eq=False)
class TrainBatches(Dataset):
    """Maps (size, positions, indices) to a batch and the unreadable images found so far.

    An unreadable image is replaced by the next readable one of the set.
    """

    source: Samples
    view: View
    seed: int

    def __getitem__(self, part: tuple[tuple[int, int], range, list[int]]) -> tuple[Batch, dict[int, str]]:
        size, positions, indices = part
        random, samples = SampleRandom(self.seed), []
        for position, index in zip(positions, indices, strict=True):
            for candidate in chain(range(index, len(self.source)), range(index)):
                sample = _sample(self.source, self.view, candidate, random(position), size)
                if sample is not None:
                    samples.append(sample | {"positions": position})
                if sample is not None or too_many_unreadable(self.source):
                    break
        return _collate(samples), dict(self.source.unreadable)


@dataclass(frozen=True, eq=False)
class OrderedBatches(Dataset):
    """Maps indices to a batch of the readable images among them, and the unreadable images found so far."""

    source: Samples
    view: View
    size: tuple[int, int]

    def __getitem__(self, indices: range) -> tuple[Batch, dict[int, str]]:
        samples = [_sample(self.source, self.view, index, None, self.size) for index in indices]
        found = zip(indices, samples, strict=True)
        batch = _collate([sample | {"positions": index} for index, sample in found if sample is not None])
        return batch, dict(self.source.unreadable)


def _sample(source: Samples, view: View, index: int, random: Any, size: tuple[int, int]) -> dict | None:
    """The view of an image, with its label; ``None`` if the image cannot be read."""
    if index in source.unreadable:
        return None
    try:
        sample = view(source, index, random, size)
    except BrokenImageError as error:
        note_unreadable(source, {index: str(error)})
        return None
    if (targets := getattr(source, "targets", None)) is not None:
        return sample | {"targets": targets[index]}
    labels = getattr(source, "labels", None)
    return sample if labels is None else sample | {"labels": int(labels[index])}


def _collate(samples: list[dict]) -> Batch:
    return default_collate(samples) if samples else {}
