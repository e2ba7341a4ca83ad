"""The held-out images of a model, whose keys are stored in its checkpoint."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crate_transformer.data import Split
from crate_transformer.data.source import AnyFileSource, AnySource, FileSource, Source
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


def keys_held_out(split: Split[Source]) -> set[str] | None:
    """Keys that distinguish held-out images from training images; ``None`` for images in memory, which have no keys.

    These are the images' keys, or ``content_key`` if a training image in another folder has the same name and size. An
    image that is also a training image is not held out.
    """
    train, val = split.train, split.val
    if not isinstance(train, FileSource) or not isinstance(val, FileSource):
        return None
    trained, kept = train.keys(), val.keys()
    shared = set(trained) & set(kept)
    return (set(kept) - shared) | (_contents(val, kept, shared) - _contents(train, trained, shared))


def _contents(images: FileSource, keys: Sequence[str], shared: Collection[str]) -> set[str]:
    return {images.content_key(index, key) for index, key in enumerate(keys) if key in shared}


def _among(images: FileSource, known: Collection[str]) -> list[int]:
    """The positions of the images whose keys are in ``known`` (from ``keys_held_out``)."""
    known = set(known)
    by_content = {key[:16] for key in known if len(key) > 16}
    return [
        index
        for index, key in enumerate(images.keys())
        if key in known or (key in by_content and images.content_key(index, key) in known)
    ]


def hold_out_again(split: Split[AnySource], keys: Collection[str]) -> tuple[Split[AnySource], int]:
    """The split without the images with these keys in its training part, and the number of these images.

    If both parts are in one folder, zip file or set of tar files, the images are added to the held-out part.
    """
    whole, val = split.train, split.val
    if not keys or not isinstance(whole, FileSource):
        return split, 0
    found = _among(whole, keys)
    if not found:
        return split, 0
    train, moved = whole.subset(sorted(set(range(len(whole))) - set(found))), whole.subset(found)
    if whole.labels is not None and train.labels is not None and (lost := set(whole.labels) - set(train.labels)):
        names = ", ".join(repr(train.classes[label]) for label in sorted(lost)[:3])
        raise ValueError(
            f"the checkpoint to start from held out all images of {names} in {train.root}: nothing is left to train "
            "on, add other images of these classes"
        )
    if isinstance(val, FileSource) and (val.root, val.prefix) == (moved.root, moved.prefix):
        val = joined(val, moved)
    return replace(split, train=train, val=val), len(found)


def joined(first: AnyFileSource, second: FileSource) -> AnyFileSource:
    """The images of both, which are parts of one data set."""
    columns = {}
    for name in ("names", "rows", "labels", "targets"):
        if (ours := vars(first).get(name)) is not None:
            theirs = vars(second)[name]
            columns[name] = np.concatenate([ours, theirs]) if isinstance(ours, np.ndarray) else [*ours, *theirs]
    joined = replace(first, **columns)
    return joined.subset(range(len(joined)))


def unseen(images: AnyFileSource, held_out: HeldOut | None) -> tuple[AnyFileSource, str, str | None]:
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
