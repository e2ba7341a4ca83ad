"""Images with masks as PNG files: Pascal VOC, or ``images/`` and ``masks/`` with the same names."""

import logging
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Literal
from unicodedata import normalize

import numpy as np
from jaxtyping import Integer

from crate_transformer.data.decode import open_image
from crate_transformer.data.files import list_files
from crate_transformer.data.images import is_image, read_picture
from crate_transformer.data.segmentation_samples import SegmentationSample, SegmentationSamples
from crate_transformer.storage import read_file
from crate_transformer.storage.limits import check_memory, memory_limit

VOID = 255
_UNDECIDED = 128
_LOOKED_AT = 64  # masks that are read to find out what their values mean
_LOG = logging.getLogger("crate_transformer.data")


def open_mask_pictures(
    root: Path,
    layout: Literal["voc", "masks"],
    pictures: str,
    masks: str,
    objects: str,
    *,
    part: str = "val",
    complete: bool = False,
) -> SegmentationSamples:
    """Samples of two folders, paired by the path without suffix; a third folder, if present, separates objects.

    A mask is a PNG with one channel: a class id per pixel, 0 for background and 255 for undecided. If the masks of
    layout ``masks`` contain only 0 and 255, and perhaps 128, then 255 is the single object class and 128 undecided.

    Args:
        part, complete: as in ``open_segmentation``.

    Raises:
        ValueError: a listed image has no mask, a mask has no image, or names are ambiguous.
    """
    of_pictures, of_masks = by_stem(root / pictures, is_image), by_stem(root / masks, _is_png)
    of_objects = by_stem(root / objects, _is_png) if (root / objects).is_dir() else {}
    listed = root / "ImageSets" / "Segmentation" / f"{part}.txt"
    stems = _listed(listed) if listed.is_file() else sorted(of_masks)
    for stem in stems:
        for folder, found in ((pictures, of_pictures), (masks, of_masks)):
            if len(found.get(stem, ())) != 1:
                names = " and ".join(found.get(stem, ())) or "nothing"
                raise ValueError(f"{root / folder} contains {names} for {stem}: image and mask must be one file each")
    if layout == "masks" and (missing := sorted(of_pictures.keys() - of_masks.keys())):
        if complete:
            raise ValueError(
                f"{root / pictures}/{of_pictures[missing[0]][0]} has no mask: add {root / masks}/{missing[0]}.png, or "
                "remove the image"
            )
        _LOG.warning("%s: skipped %d images without a mask", root, len(missing))
    is_binary = layout == "masks" and _are_binary([root / masks / of_masks[stem][0] for stem in stems])
    if is_binary:
        _LOG.warning("%s: 255 marks the object, because the masks contain only 0 and 255 (128: undecided)", root)

    def load(stem: str) -> SegmentationSample:
        picture = read_picture(root / pictures, of_pictures[stem][0])
        size = (picture.height, picture.width)
        file = root / masks / of_masks[stem][0]
        classes = _split(file, size)
        undecided = classes.pop(_UNDECIDED if is_binary else VOID, None)
        if is_binary and classes:
            if classes.keys() != {VOID}:
                raise ValueError(f"{file} contains the value {min(classes)}, but other masks only 0 and {VOID}")
            classes = {1: classes[VOID]}
        found = ()
        if of_objects:
            if len(of_objects.get(stem, ())) != 1:
                raise ValueError(f"{root / objects} does not contain exactly one file for {stem}")
            single = _split(root / objects / of_objects[stem][0], size)
            found = tuple(mask for value, mask in single.items() if value != VOID)
        return SegmentationSample(
            name=stem,
            picture=picture,
            classes=classes,
            undecided=undecided,
            objects=found,
            crowd=(False,) * len(found),
        )

    return SegmentationSamples(
        root=root,
        layout=layout,
        names=tuple(stems),
        files={stem: f"{pictures}/{of_pictures[stem][0]}" for stem in stems},
        mask_files={stem: f"{masks}/{of_masks[stem][0]}" for stem in stems},
        class_names={1: "object"} if is_binary else {},
        has_objects=bool(of_objects),
        load=load,
    )


def by_stem(folder: Path, wanted: Callable[[str], bool]) -> dict[str, list[str]]:
    """The files of a folder by their path without suffix, in one Unicode normal form."""
    found = defaultdict(list)
    for name in filter(wanted, list_files(folder)):
        found[normalize("NFC", PurePosixPath(name).with_suffix("").as_posix())].append(name)
    return found


def _is_png(name: str) -> bool:
    return name.lower().endswith(".png")


def _listed(file: Path) -> list[str]:
    try:
        return [normalize("NFC", stem) for stem in read_file(file).decode("utf-8-sig").split()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not a UTF-8 text file ({error})") from error


def _are_binary(files: list[Path]) -> bool:
    """Whether 255 marks an object: a sample of masks contains it, and otherwise only 0 and the undecided value."""
    count = min(_LOOKED_AT, len(files))
    values: set[int] = set()
    for index in range(count):
        values |= set(np.unique(_read_labels(files[index * len(files) // count])).tolist())
    return VOID in values and values <= {0, _UNDECIDED, VOID}


def _read_labels(file: Path) -> Integer[np.ndarray, "height width"]:
    limit = memory_limit()
    try:
        with open_image(read_file(file, limit=limit // 4), limit, formats=("PNG",)) as image:
            labels = np.array(image)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises almost any exception on damaged files
        raise ValueError(f"{file} is not a readable PNG ({error})") from error
    if labels.ndim != 2:
        raise ValueError(f"{file} is a colour image: a mask has one channel with a class id per pixel")
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def _split(file: Path, size: tuple[int, int]) -> dict[int, np.ndarray]:
    """One mask for each value in a file except 0."""
    labels = _read_labels(file)
    if labels.shape != size:
        raise ValueError(
            f"{file} has {labels.shape[0]} x {labels.shape[1]} pixels, but its image has {size[0]} x {size[1]}"
        )
    values = [value for value in np.unique(labels).tolist() if value]
    try:
        check_memory(len(values) * labels.size, memory_limit())
    except ValueError as error:
        raise ValueError(f"{file} contains {len(values):,} classes: {error}") from error
    return {value: labels == value for value in values}
