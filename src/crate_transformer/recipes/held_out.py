"""Which pictures a model has not been trained on: their keys travel with its checkpoint."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crate_transformer.data import ArrayImages, Source, Split
from crate_transformer.models import Model
from crate_transformer.storage import as_record


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What a checkpoint says under ``split``: how its data was divided, and ``keys_held_out``."""

    how: str
    divided_here: bool
    held_out: list[str]


def held_out_of(model: Model) -> HeldOut | None:
    """What the checkpoint of ``model`` says; ``None`` where it does not tell.

    Raises:
        ValueError: it says something else under ``split``.
    """
    provenance = getattr(model, "provenance", None)
    if provenance is None or "split" not in provenance.metadata:
        return None
    return as_record(provenance.metadata["split"], HeldOut, f"the metadata of {provenance.source}")


def keys_held_out(split: Split) -> set[str] | None:
    """What tells the held-out pictures from those trained on; ``None`` of pictures in memory, which have no keys.

    It is their keys, or ``content_key`` where a training picture in another folder has the same name and size. A
    picture that is among those trained on too is not held out.
    """
    if isinstance(split.train, ArrayImages) or isinstance(split.val, ArrayImages):
        return None
    trained, kept = split.train.keys(), split.val.keys()
    shared = set(trained) & set(kept)
    return (set(kept) - shared) | (_contents(split.val, kept, shared) - _contents(split.train, trained, shared))


def _contents(images: Source, keys: Sequence[str], shared: Collection[str]) -> set[str]:
    return {images.content_key(index, key) for index, key in enumerate(keys) if key in shared}


def _among(images: Source, known: Collection[str]) -> list[int]:
    """The positions of the pictures that ``known``, from ``keys_held_out``, tells of."""
    known = set(known)
    by_content = {key[:16] for key in known if len(key) > 16}
    return [
        index
        for index, key in enumerate(images.keys())
        if key in known or (key in by_content and images.content_key(index, key) in known)
    ]


def hold_out_again(split: Split, keys: Collection[str]) -> tuple[Split, int]:
    """The split without the pictures of these keys in its training part, and how many these are.

    Where both parts lie in one folder, zip file or set of tar files, the pictures join the held-out part.
    """
    if not keys or isinstance(split.train, ArrayImages):
        return split, 0
    found = _among(split.train, keys)
    if not found:
        return split, 0
    kept = sorted(set(range(len(split.train))) - set(found))
    train, val, moved = split.train.subset(kept), split.val, split.train.subset(found)
    if train.labels is not None and (lost := set(split.train.labels) - set(train.labels)):
        names = ", ".join(repr(train.classes[label]) for label in sorted(lost)[:3])
        raise ValueError(
            f"the checkpoint to start from held out all pictures of {names} of {train.root}: nothing is left to train "
            "on, add other pictures of them"
        )
    if (val.root, val.prefix) == (moved.root, moved.prefix):
        val = _joined(val, moved)
    return replace(split, train=train, val=val), len(found)


def _joined(first: Source, second: Source) -> Source:
    """The pictures of both, which are parts of one set."""
    columns = {}
    for name in ("names", "rows", "labels", "targets"):
        ours, theirs = getattr(first, name, None), getattr(second, name, None)
        if ours is not None:
            columns[name] = np.concatenate([ours, theirs]) if isinstance(ours, np.ndarray) else [*ours, *theirs]
    joined = replace(first, **columns)
    return joined.subset(range(len(joined)))


def unseen(images: Source, held_out: HeldOut | None) -> tuple[Source, str, str | None]:
    """The pictures to measure on: those that training held out, wherever they lie now, else all.

    Also in words which these are, and a warning where some may have been trained on.
    """
    part = f", folder {images.prefix.rstrip('/')}" if images.prefix else ""
    which = f"all {len(images)} images of {images.root}{part}"
    if held_out is None:
        return images, which, "the checkpoint does not tell which images it was trained on: it may be these"
    found = _among(images, held_out.held_out)
    if not found:
        return images, which, "none of these images is known to have been held out: training may have used them"
    if len(found) < len(images):
        which = f"{len(found)} of the {len(images)} images of {images.root}{part}"
    return images.subset(found), f"{which}, which training held out", None
