"""How labelled pictures lie on the disk: classes as sub-folders, with or without a split, in folders or zip files."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from unicodedata import normalize

from crate_transformer.data.arrays import ArrayImages
from crate_transformer.data.classes import class_words
from crate_transformer.data.files import list_files
from crate_transformer.data.folder import ImageFolder
from crate_transformer.data.images import choose_images, is_image

_LOG = logging.getLogger("crate_transformer.data")
_ROLES = {
    "training": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev", "eval", "evaluation"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures for training and held-out ones.

    ``how`` says in one sentence where the division comes from; ``divided_here`` whether it was made here, by the keys
    of the pictures, and not found on the disk.
    """

    train: ImageFolder | ArrayImages
    val: ImageFolder | ArrayImages
    how: str
    divided_here: bool


def open_images(path: str | Path) -> ImageFolder:
    """The labelled pictures of a folder or zip file with one sub-folder per class; classes are sorted by folder name.

    Folders that only wrap the classes are passed through, and folders inside a class belong to it. Where a
    ``classes.json`` beside the classes (or beside the folder or zip file) maps every class folder to words, those are
    the names of the classes.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: No images, no class folders, an empty class, a single class, or a split instead of classes.
    """
    found = _find(Path(path))
    if isinstance(found, Split):
        raise ValueError(f"{path} is divided ({found.how}), not into classes: name one of those parts")
    return found


def open_split(path: str | Path, *, val_fraction: float = 0.1) -> Split:
    """Pictures to train on and held-out ones: as divided on the disk, else divided here, class by class.

    A division on the disk is a part for training (``train`` or ``training``) beside one for validation (``val``,
    ``valid``, ``validation``, ``dev``, ``eval`` or ``evaluation``) or, where there is none, for testing (``test`` or
    ``testing``), in any case: folders, zip files, or folders within a zip file.

    A division made here belongs to the data: of each class those pictures are held out whose ``ImageFolder.keys`` are
    lowest, so it stays when the data is moved or packed, and nearly so when pictures are added.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: As ``open_images``; there is something else beside the parts; the halves have other classes; a class
            is too small to divide.
    """
    found = _find(Path(path))
    return found if isinstance(found, Split) else _divide(found, val_fraction)


def open_evaluation(path: str | Path) -> ImageFolder:
    """Labelled pictures to measure on: the held-out part of a division on the disk (see ``open_split``), else all."""
    found = _find(Path(path))
    return found.val if isinstance(found, Split) else found


def _find(path: Path) -> ImageFolder | Split:
    """What lies at ``path``: classes, or parts with classes in them."""
    names = list_files(path)
    images = [name for name in names if is_image(name)]
    archives = {name for name in names if name.lower().endswith(".zip") and "/" not in name and path.is_dir()}
    prefix, heads = "", _heads(images, "")
    if len({_role(name) for name in heads | archives} - {None}) < 2:
        archives, prefix = set(), _pass_wrappers(names, images)
        heads = _heads(images, prefix)
    parts = {name: role for name in sorted(heads | archives) if (role := _role(name))}
    others = sorted(heads - set(parts)) + sorted(archives - set(parts) if archives & set(parts) else [])
    holds_classes = any(name in archives for name in parts) or any(
        name.startswith(f"{prefix}{part}/") and name.count("/", len(prefix) + len(part) + 1)
        for part in parts
        for name in images
    )
    if not parts or (len(parts) == 1 and (not others or (len(others) > 1 and not holds_classes))):
        return _classes(path, names, prefix)  # "train" among cars and ships is a class

    def open_part(part: str) -> ImageFolder:
        if part in archives:
            return open_images(path / part)
        start = f"{prefix}{part}/"
        return _classes(path, names, _pass_wrappers(names, [name for name in images if name.startswith(start)], start))

    training, held_out, alone = _choose_parts(path, parts, others)
    rest = f"; {' and '.join(alone)} {'was' if len(alone) == 1 else 'were'} left alone" if alone else ""
    train, val = open_part(training), open_part(held_out)
    lone = sorted(set(train.classes) ^ set(val.classes))
    if lone:
        shown = ", ".join(map(repr, lone[:3]))
        raise ValueError(f"{training} and {held_out} of {path} differ in their classes: only one of them has {shown}")
    return Split(train, val, f"{training} and {held_out} of {path}{rest}", divided_here=False)


def _heads(images: Sequence[str], prefix: str) -> set[str]:
    """The folders at ``prefix`` that hold images."""
    return {name[len(prefix) :].partition("/")[0] for name in images if "/" in name[len(prefix) :]}


def _role(name: str) -> str | None:
    stem = name.lower().removesuffix(".zip")
    return next((role for role, names in _ROLES.items() if stem in names), None)


def _choose_parts(path: Path, parts: dict[str, str], others: list[str]) -> tuple[str, str, list[str]]:
    """The part to train on, the held-out one, and those that nobody uses."""
    if others:
        shown = " and ".join(others[:3]) + (f" and {len(others) - 3} others" if len(others) > 3 else "")
        raise ValueError(f"{path} holds {shown} beside {' and '.join(parts)}: move one or the other out of it")
    of_role = {role: [part for part in parts if parts[part] == role] for role in _ROLES}
    held_out = of_role["validation"] or of_role["test"]
    for wanted, found in (("to train on", of_role["training"]), ("to hold out", held_out)):
        if len(found) != 1:
            raise ValueError(
                f"{path} holds {' and '.join(parts)}, of which {' and '.join(found) or 'none'} "
                f"{'are' if len(found) > 1 else 'is'} {wanted}: leave exactly one"
            )
    (training,), (chosen,) = of_role["training"], held_out
    return training, chosen, [part for part in parts if part not in (training, chosen)]


def _pass_wrappers(names: Sequence[str], images: Sequence[str], prefix: str = "") -> str:
    """Where the classes begin: below folders that hold one folder, with folders of images in it, and no image."""
    while images and all(name.count("/", len(prefix)) >= 2 for name in images):
        folders = _folders(names, prefix)
        if len(folders) > 1:
            break
        prefix += f"{folders[0]}/"
    return prefix


def _folders(names: Sequence[str], prefix: str) -> list[str]:
    ends = ((name, name.find("/", len(prefix))) for name in names if name.startswith(prefix))
    return sorted(name[len(prefix) : end] for name, end in ends if end == len(name) - 1 and end >= len(prefix))


def _classes(path: Path, names: Sequence[str], prefix: str) -> ImageFolder:
    """Every folder at ``prefix`` as a class; two spellings of one name in Unicode are one class."""
    where = f"{path}/{prefix}".rstrip("/")
    below = [name for name in names if name.startswith(prefix)]
    images = choose_images([name for name in below if "/" in name[len(prefix) :] or is_image(name)], where)
    inside = [name for name in images if "/" in name[len(prefix) :]]
    if not inside:
        raise ValueError(f"{where} holds images but no sub-folders: sort the images into one sub-folder per class")
    folders = {folder: normalize("NFC", folder) for folder in _folders(below, prefix)}
    heads = [folders[name[len(prefix) :].partition("/")[0]] for name in inside]
    classes = sorted(set(folders.values()))
    empty = sorted(set(classes) - set(heads))
    if empty:
        raise ValueError(f"{where}: no images of class {', '.join(map(repr, empty))}: add some or remove the folder")
    if len(classes) == 1:
        raise ValueError(f"{where} has the single class {classes[0]!r}: a classifier needs at least two")
    if len(inside) < len(images):
        _LOG.warning("%s: left out %d images that lie in no class folder", where, len(images) - len(inside))
    labels = {name: label for label, name in enumerate(classes)}
    return ImageFolder(
        path, inside, [labels[head] for head in heads], class_words(path, names, prefix, classes), prefix
    )


def _divide(images: ImageFolder, val_fraction: float) -> Split:
    """Hold out, of every class, the pictures with the lowest keys."""
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction is {val_fraction}: it must be above 0 and below 1")
    keys = images.keys()
    ranked = sorted(range(len(images)), key=lambda index: (images.labels[index], keys[index]))
    held_out: set[int] = set()
    for label, group in groupby(ranked, key=images.labels.__getitem__):
        members = list(group)
        if len(members) < 2:
            name = images.classes[label]
            raise ValueError(f"class {name!r} of {images.root} has one image: it takes two, to train and to hold out")
        held_out.update(members[: min(max(1, round(val_fraction * len(members))), len(members) - 1)])
    train, val = ([i for i in range(len(images)) if (i in held_out) == chosen] for chosen in (False, True))
    how = f"{val_fraction:.0%} of each class of {images.root} held out, chosen by the names and sizes of the files"
    return Split(images.subset(train), images.subset(val), how, divided_here=True)
