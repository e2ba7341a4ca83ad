"""The images that a probe is fitted and evaluated on."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from crate_transformer.data import LabelledFiles, open_evaluation, open_images, open_split
from crate_transformer.recipes.held_out import HeldOut, hold_out_again, unseen


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbePictures:
    """Images to fit and to evaluate on, their descriptions, and warnings."""

    reference: LabelledFiles
    reported: LabelledFiles
    reference_used: str
    reported_used: str
    warnings: tuple[str, ...]


def probe_pictures(
    data: Path, held_out: HeldOut | None, *, reference: Path | None = None, per_class: int | None = None
) -> ProbePictures:
    """The images of ``data``: its training part to fit on, its held-out part to evaluate on (see ``open_split``).

    If ``data`` is not divided on disk and the checkpoint held out images of it, these are used for evaluation.

    Args:
        held_out: the held-out images stored in the checkpoint.
        reference: other images to fit on; evaluation then uses all of ``data``, or its held-out part.
        per_class: number of images per class to fit on; the same images are chosen wherever the data is stored.

    Raises:
        ValueError: ``per_class`` is not positive; an image may have several classes; a class of ``data`` is not in
            ``reference``; all reference images are among those for evaluation; or as in ``open_split``.
    """
    if per_class is not None and per_class < 1:
        raise ValueError(f"the number of images per class to fit on is {per_class}: it must be at least 1")
    if reference is None:
        split = open_split(data)
        # if training used none of them, the division made here is valid
        if split.divided_here and held_out and set(split.train.keys()) - set(held_out.held_out):
            split, _ = hold_out_again(split, held_out.held_out)
        known, reported = split.train, split.val
    else:
        split = open_split(reference)
        known, reported = open_images(reference) if split.divided_here else split.train, open_evaluation(data)
    for images in (known, reported):
        if images.labels is None:
            raise ValueError(f"a probe needs one class per image, which {images.where} does not have")
    if reference is not None:
        reported = reported.relabel(known.classes)
    reported, which, warning = unseen(reported, held_out)
    known, twice = without(known, reported)
    words = f"{len(known)} images of {known.root}"
    if per_class is not None:
        known = first_of_each_class(known, per_class)
        words = f"{len(known)} of the {words}, at most {per_class} of each class"
    warnings = [warning] if warning else []
    if twice:
        warnings.append(f"{twice} images to fit on were skipped because they are among those to evaluate on")
    lacking = sorted(set(reported.labels) - set(known.labels))
    if lacking:
        names = ", ".join(repr(known.classes[label]) for label in lacking[:3])
        warnings.append(f"there are no images to fit on for {names}: images of {len(lacking)} classes count as wrong")
    return ProbePictures(
        reference=known, reported=reported, reference_used=words, reported_used=which, warnings=tuple(warnings)
    )


def without(images: LabelledFiles, others: LabelledFiles) -> tuple[LabelledFiles, int]:
    """The images that are not in ``others`` (by path inside the classes, size and content), and how many are.

    Raises:
        ValueError: all of them are in ``others``.
    """
    places = {key: index for index, key in enumerate(others.keys())}
    kept = [
        index
        for index, key in enumerate(images.keys())
        if key not in places or images.content_key(index, key) != others.content_key(places[key], key)
    ]
    if not kept:
        raise ValueError(f"all images of {images.root} to fit on are among those to evaluate on")
    return (images, 0) if len(kept) == len(images) else (images.subset(kept), len(images) - len(kept))


def first_of_each_class(images: LabelledFiles, count: int) -> LabelledFiles:
    """The ``count`` images of each class with the lowest keys, in order."""
    members: dict[int, list[int]] = defaultdict(list)
    keys = images.keys()
    for index in sorted(range(len(images)), key=keys.__getitem__):
        members[images.labels[index]].append(index)
    return images.subset(sorted(index for found in members.values() for index in found[:count]))
