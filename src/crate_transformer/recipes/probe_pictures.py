"""Which pictures a probe learns from and which it is measured on."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from crate_transformer.data import LabelledFiles, open_evaluation, open_images, open_split
from crate_transformer.recipes.held_out import HeldOut, hold_out_again, unseen


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbePictures:
    """Pictures to learn from and to measure on, in words too, and what may be wrong with these numbers."""

    reference: LabelledFiles
    reported: LabelledFiles
    reference_used: str
    reported_used: str
    warnings: tuple[str, ...]


def probe_pictures(
    data: Path, held_out: HeldOut | None, *, reference: Path | None = None, per_class: int | None = None
) -> ProbePictures:
    """The pictures of ``data``: learn from its part for training, measure on the held-out part (see ``open_split``).

    Where ``data`` is not divided on the disk, and the checkpoint held out pictures of it, these are measured on.

    Args:
        held_out: what the checkpoint says of the pictures that it was not trained on.
        reference: other pictures to learn from; then all of ``data``, or its held-out part, is measured on.
        per_class: of each class so many pictures are learned from, the same ones wherever the data lies.

    Raises:
        ValueError: ``per_class`` is not positive; a class of ``data`` is not in ``reference``; all reference pictures
            are among those measured on; as ``open_split``.
    """
    if per_class is not None and per_class < 1:
        raise ValueError(f"there are {per_class} pictures per class to learn from: take at least 1")
    if reference is None:
        split = open_split(data)
        # where training saw none of them, the division made here is as good as any
        if split.divided_here and held_out and set(split.train.keys()) - set(held_out.held_out):
            split, _ = hold_out_again(split, held_out.held_out)
        known, reported = split.train, split.val
    else:
        split = open_split(reference)
        known, reported = open_images(reference) if split.divided_here else split.train, open_evaluation(data)
        reported = reported.relabel(known.classes)
    reported, which, warning = unseen(reported, held_out)
    known, twice = without(known, reported)
    words = f"{len(known)} images of {known.root}"
    if per_class is not None:
        known = first_of_each_class(known, per_class)
        words = f"{len(known)} of the {words}, at most {per_class} of each class"
    warnings = [warning] if warning else []
    if twice:
        warnings.append(f"{twice} images to learn from are among those to measure on and were left out")
    lacking = sorted(set(reported.labels) - set(known.labels))
    if lacking:
        names = ", ".join(repr(known.classes[label]) for label in lacking[:3])
        warnings.append(f"there is nothing to learn {names} from: images of {len(lacking)} classes count as wrong")
    return ProbePictures(
        reference=known, reported=reported, reference_used=words, reported_used=which, warnings=tuple(warnings)
    )


def without(images: LabelledFiles, others: LabelledFiles) -> tuple[LabelledFiles, int]:
    """The images that are not among the others by path inside the classes, size and content, and how many are.

    Raises:
        ValueError: all of them are.
    """
    places = {key: index for index, key in enumerate(others.keys())}
    kept = [
        index
        for index, key in enumerate(images.keys())
        if key not in places or images.content_key(index, key) != others.content_key(places[key], key)
    ]
    if not kept:
        raise ValueError(f"all images of {images.root} to learn from are among those to measure on")
    return (images, 0) if len(kept) == len(images) else (images.subset(kept), len(images) - len(kept))


def first_of_each_class(images: LabelledFiles, count: int) -> LabelledFiles:
    """So many pictures of each class, those with the lowest keys, in their order."""
    members: dict[int, list[int]] = defaultdict(list)
    keys = images.keys()
    for index in sorted(range(len(images)), key=keys.__getitem__):
        members[images.labels[index]].append(index)
    return images.subset(sorted(index for found in members.values() for index in found[:count]))
