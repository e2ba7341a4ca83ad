"""Problems of a labelled data set, found by decoding every image before training."""

import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from crate_transformer.configs import AugmentConfig
from crate_transformer.data.augment import TrainView
from crate_transformer.data.decode import BrokenImageError, open_image, read_image
from crate_transformer.data.source import Source
from crate_transformer.models.preprocessing import Preprocessing
from crate_transformer.storage.limits import memory_limit

_AT_A_TIME = 16  # pictures that a process examines before it reports
_TIMED = 256  # pictures whose decoding is timed


@dataclass(frozen=True, kw_only=True)
class PartCheck:
    """One part of a data set; ``duplicates`` are groups of names of images with the same pixels.

    ``contradictions`` are the duplicates with different labels. ``widths`` and ``heights`` are minimum, median and
    maximum in pixels; ``None`` if no image can be read.
    """

    where: str
    images: int
    classes: dict[str, int]
    empty: list[str]
    broken: dict[str, str]
    duplicates: list[list[str]]
    contradictions: list[list[str]]
    formats: dict[str, int]
    colour_modes: dict[str, int]
    widths: tuple[int, float, int] | None
    heights: tuple[int, float, int] | None
    megabytes: float


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """All parts of a data set; ``leaks`` are groups of names in several parts of images with the same pixels.

    ``images_per_second`` is the number of images that one process reads, decodes and randomly crops to 224 x 224
    pixels.
    """

    parts: dict[str, PartCheck]
    leaks: list[list[str]]
    images_per_second: float | None

    @property
    def is_clean(self) -> bool:
        """Whether all images can be read and none is in two parts."""
        return not self.leaks and not any(part.empty or part.broken for part in self.parts.values())


@dataclass(frozen=True)
class _Found:
    """The content of an image file; ``problem`` says why it cannot be read, ``pixels`` is a digest of its pixels."""

    size: int
    problem: str = ""
    format: str = ""
    mode: str = ""
    shape: tuple[int, int] = (0, 0)
    pixels: bytes = b""


def check_images(
    parts: Mapping[str, Source], *, workers: int = 0, progress: Callable[[int], object] | None = None
) -> DataCheck:
    """Decode every image of every part once, and compare their pixels.

    Args:
        workers: Decoding processes; 0 decodes in this one.
        progress: Called with the number of images done.
    """
    found: dict[str, list[_Found]] = {}
    places: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
    done = 0
    for name, source in parts.items():
        found[name] = []
        for index, one in enumerate(_examined(source, workers)):
            found[name].append(one)
            if not one.problem:
                places[one.pixels].append((name, index))
            done += 1
            if progress:
                progress(done)
    groups = [group for group in places.values() if len(group) > 1]
    checks = {name: _summary(source, found[name], _inside(groups, name)) for name, source in parts.items()}
    leaks = [
        [f"{name}: {parts[name].name(index)}" for name, index in group]
        for group in groups
        if len({name for name, _ in group}) > 1
    ]
    return DataCheck(parts=checks, leaks=leaks, images_per_second=_speed(next(iter(parts.values()))))


def _inside(groups: Sequence[Sequence[tuple[str, int]]], part: str) -> list[list[int]]:
    """For each group with several images in this part, their positions in it."""
    inside = ([index for name, index in group if name == part] for group in groups)
    return [indices for indices in inside if len(indices) > 1]


def _summary(source: Any, found: Sequence[_Found], duplicates: Sequence[Sequence[int]]) -> PartCheck:
    several = source.labels is None  # an image may have several classes
    count = source.targets.sum(axis=0).astype(int).tolist() if several else Counter(source.labels)
    labels = [row.tobytes() for row in source.targets] if several else source.labels
    readable = [one for one in found if not one.problem]
    shapes = list(zip(*(one.shape for one in readable), strict=True))
    widths, heights = ((min(sides), float(median(sides)), max(sides)) for sides in shapes) if shapes else (None, None)
    named = [([source.name(index) for index in group], group) for group in duplicates]
    return PartCheck(
        where=source.where,
        images=len(source),
        classes={name: count[label] for label, name in enumerate(source.classes)},
        empty=[source.name(index) for index, one in enumerate(found) if one.problem and not one.size],
        broken={source.name(index): one.problem for index, one in enumerate(found) if one.problem and one.size},
        duplicates=[names for names, _ in named],
        contradictions=[names for names, group in named if len({labels[index] for index in group}) > 1],
        formats=dict(Counter(one.format for one in readable).most_common()),
        colour_modes=dict(Counter(one.mode for one in readable).most_common()),
        widths=widths,
        heights=heights,
        megabytes=sum(one.size for one in found) / 1e6,
    )


def _examined(source: Source, workers: int) -> Iterator[_Found]:
    """The content of every image file, in order."""
    chunks = [range(start, min(start + _AT_A_TIME, len(source))) for start in range(0, len(source), _AT_A_TIME)]
    loader = DataLoader(
        _Examination(source),
        sampler=chunks,
        batch_size=None,
        num_workers=workers,
        collate_fn=list,
        generator=torch.Generator(),
        worker_init_fn=_leave_signals_to_the_main_process,
    )
    return chain.from_iterable(loader)


@dataclass(frozen=True, eq=False)
class _Examination(Dataset):
    source: Source

    def __getitem__(self, indices: range) -> list[_Found]:
        return [_examine(self.source, index) for index in indices]


def _examine(source: Any, index: int) -> _Found:
    size, limit = 1, memory_limit()  # a file that cannot be read is not reported as empty
    try:
        content = source.content(index)
        size = len(content)
        if not size:
            return _Found(0, "empty")
        picture = read_image(content, "")
        with open_image(content, limit) as image:
            kind, mode = image.format or "", image.mode
    except BrokenImageError as error:
        return _Found(size, error.reason)
    digest = blake2b(repr(picture.size).encode() + picture.tobytes(), digest_size=16).digest()
    return _Found(size, "", kind, mode, picture.size, digest)


def _leave_signals_to_the_main_process(_worker: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _speed(source: Source) -> float | None:
    """Images per second that one process reads, decodes and randomly crops, as in training."""
    view, done = TrainView(AugmentConfig(), Preprocessing()), 0
    random, began = np.random.default_rng(0), time.perf_counter()
    for index in np.linspace(0, len(source) - 1, min(_TIMED, len(source))).astype(int).tolist():
        try:
            view(source, index, random, (224, 224))
        except BrokenImageError:
            continue
        done += 1
    return done / (time.perf_counter() - began) if done else None
