"""Which pictures a model has not been trained on: their keys travel with its checkpoint."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from crate_transformer.data import ImageFolder, Split
from crate_transformer.models import Model
from crate_transformer.storage import as_record


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What a checkpoint says under ``split``: how its data was divided, and the ``ImageFolder.keys`` held out."""

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


def hold_out_again(split: Split, keys: Collection[str]) -> tuple[Split, int]:
    """The split without the pictures of these keys in its training part, and how many these are.

    Where both parts lie in one folder or zip file, the pictures join the held-out part.
    """
    if not keys or not isinstance(split.train, ImageFolder):
        return split, 0
    known = set(keys)
    found = [index for index, key in enumerate(split.train.keys()) if key in known]
    if not found:
        return split, 0
    kept = sorted(set(range(len(split.train))) - set(found))
    train, val, moved = split.train.subset(kept), split.val, split.train.subset(found)
    if len(set(train.labels)) < len(train.classes):
        raise ValueError(f"all pictures of a class of {train.root} were held out by the checkpoint to start from")
    if (val.root, val.prefix) == (moved.root, moved.prefix):
        val = replace(val, names=[*val.names, *moved.names], labels=[*val.labels, *moved.labels], broken={})
    return replace(split, train=train, val=val), len(found)


def unseen(images: ImageFolder, held_out: HeldOut | None) -> tuple[ImageFolder, str, str | None]:
    """The pictures to measure on: those that training held out, wherever they lie now, else all.

    Also in words which these are, and a warning where some may have been trained on.
    """
    part = f", folder {images.prefix.rstrip('/')}" if images.prefix else ""
    which = f"all {len(images)} images of {images.root}{part}"
    if held_out is None:
        return images, which, "the checkpoint does not tell which images it was trained on: it may be these"
    known = set(held_out.held_out)
    found = [index for index, key in enumerate(images.keys()) if key in known]
    if not found:
        return images, which, "none of these images is known to have been held out: training may have used them"
    if len(found) < len(images):
        which = f"{len(found)} of the {len(images)} images of {images.root}{part}"
    return images.subset(found), f"{which}, which training held out", None
