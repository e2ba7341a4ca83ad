"""The held-out images of a model, whose keys are stored in its checkpoint."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crate_transformer.data import ArrayImages, Source, Split
from crate_transformer.models import Model
from crate_transformer.storage import as_record


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The entry ``split`` of a checkpoint: how its data was divided, and ``keys_held_out``."""

    how: str
    divided_here: bool
    held_out: list[str]


def held_out_of(model: Model) -> HeldOut | None:
    """The held-out images stored in the checkpoint of ``model``, or ``None``.

    Raises:
        ValueError: the entry ``split`` is invalid.
    """
    provenance = getattr(model, "provenance", None)
    if provenance is None or "split" not in provenance.metadata:
        return None
    return as_record(provenance.metadata["split"], HeldOut, f"the metadata of {provenance.source}")


def keys_held_out(split: Split) -> set[str] | None:
    """Keys that distinguish held-out images from training images; ``None`` for images in memory, which have no keys.

    These are the images' keys, or ``content_key`` if a training image in another folder has the same name and size. An
    image that is also a training image is not held out.
    """
    if isinstance(split.train, ArrayImages) or isinstance(split.val, ArrayImages):
        return None
    trained, kept = split.train.keys(), split.val.keys()
    shared = set(trained) & set(kept)
    return (set(kept) - shared) | (_contents(split.val, kept, shared) - _contents(split.train, trained, shared))


def _contents(images: Source, keys: Sequence[str], shared: Collection[str]) -> set[str]:
    return {images.content_key(index, key) for index, key in enumerate(keys) if key in shared}


def _among(images: Source, known: Collection[str]) -> list[int]:
    """The positions of the images whose keys are in ``known`` (from ``keys_held_out``)."""
    known = set(known)
    by_content = {key[:16] for key in known if len(key) > 16}
    return [
        index
        for index, key in enumerate(images.keys())
        if key in known or (key in by_content and images.content_key(index, key) in known)
    ]


def hold_out_again(split: Split, keys: Collection[str]) -> tuple[Split, int]:
    """The split without the images with these keys in its training part, and the number of these images.

    If both parts are in one folder, zip file or set of tar files, the images are added to the held-out part.
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
            f"the checkpoint to start from held out all images of {names} in {train.root}: nothing is left to train "
            "on, add other images of these classes"
        )
    if (val.root, val.prefix) == (moved.root, moved.prefix):
        val = _joined(val, moved)
    return replace(split, train=train, val=val), len(found)


def _joined(first: Source, second: Source) -> Source:
    """The images of both, which are parts of one data set."""
    columns = {}
    for name in ("names", "rows", "labels", "targets"):
        ours, theirs = getattr(first, name, None), getattr(second, name, None)
        if ours is not None:
            columns[name] = np.concatenate([ours, theirs]) if isinstance(ours, np.ndarray) else [*ours, *theirs]
    joined = replace(first, **columns)
    return joined.subset(range(len(joined)))


def unseen(images: Source, held_out: HeldOut | None) -> tuple[Source, str, str | None]:
    """The images for evaluation: those that training held out, even if they were moved, else all.

    Also returns a description of them, and a warning if some may have been used in training.
    """
    part = f", folder {images.prefix.rstrip('/')}" if images.prefix else ""
    which = f"all {len(images)} images of {images.root}{part}"
    if held_out is None:
        return images, which, "the checkpoint does not say which images it was trained on: it may be these"
    found = _among(images, held_out.held_out)
    if not found:
        return images, which, "none of these images is known to have been held out: training may have used them"
    if len(found) < len(images):
        which = f"{len(found)} of the {len(images)} images of {images.root}{part}"
    return images.subset(found), f"{which}, which training held out", None
