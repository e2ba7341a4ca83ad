"""How labelled pictures lie on the disk: classes as sub-folders, with or without a split, in folders or zip files."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crate_transformer.data.files import list_files
from crate_transformer.data.folder import ImageFolder
from crate_transformer.data.images import SUFFIXES

_HELD_OUT = ("val", "validation", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures for training and held-out ones; ``how`` says in one sentence where the division comes from."""

    train: ImageFolder
    val: ImageFolder
    how: str


def open_images(path: str | Path) -> ImageFolder:
    """The labelled pictures of a folder or zip file with one sub-folder per class; classes are sorted by folder name.

    Folders that only wrap the classes are passed through, and folders inside a class belong to it. Where a
    ``classes.json`` beside the classes (or beside the folder or zip file) maps every class folder to words, those are
    the names of the classes.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: No images, no class folders, an empty class, a single class, or a split instead of classes.
    """
    path = Path(path)
    names = list_files(path)
    prefix = _prefix(names)
    parts = _parts(names, prefix)
    if parts:
        held_out = " and ".join(parts[1:])
        raise ValueError(f"{path} is divided into train and {held_out}, not into classes: name one of those folders")
    return _classes(path, names, prefix)


def open_split(path: str | Path, *, val_fraction: float = 0.1, seed: int = 0) -> Split:
    """Pictures to train on and held-out ones: as divided on the disk, else divided here, class by class, by ``seed``.

    A division on the disk is ``train`` beside ``val``, ``validation`` or ``test`` (the first of these that is there):
    folders, folders within a zip file, or ``train.zip`` beside ``val.zip`` and so on.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: As ``open_images``; the halves have other classes; a class is too small to divide.
    """
    path = Path(path)
    return _split_on_disk(path) or _divide(open_images(path), val_fraction, seed)


def open_evaluation(path: str | Path) -> ImageFolder:
    """Labelled pictures to measure on: the held-out part of a division on the disk (see ``open_split``), else all."""
    split = _split_on_disk(Path(path))
    return split.val if split else open_images(path)


def _split_on_disk(path: Path) -> Split | None:
    archives = [path / f"{name}.zip" for name in ("train", *_HELD_OUT) if (path / f"{name}.zip").is_file()]
    if len(archives) > 1 and archives[0].stem == "train":
        train, val = open_images(archives[0]), open_images(archives[1])
        return _checked(Split(train, val, f"{archives[0].name} and {archives[1].name} of {path}"))
    names = list_files(path)
    prefix = _prefix(names)
    parts = _parts(names, prefix)
    if not parts:
        return None
    train, val = (_classes(path, names, _prefix(names, f"{prefix}{part}/")) for part in parts[:2])
    return _checked(Split(train, val, f"the folders {parts[0]} and {parts[1]} of {path}"))


def _prefix(names: Sequence[str], prefix: str = "") -> str:
    """Where the classes begin: below folders that hold one folder, with folders of images in it, and no image."""
    while True:
        images = _images(names, prefix)
        if not images or any(name[len(prefix) :].count("/") < 2 for name in images):
            return prefix
        folders = _folders(names, prefix)
        if len(folders) > 1:
            return prefix
        prefix += f"{folders[0]}/"


def _parts(names: Sequence[str], prefix: str) -> list[str]:
    """The parts of a split that begin at ``prefix``, as they are spelled there, training first."""
    heads = {name[len(prefix) :].split("/")[0] for name in _images(names, prefix) if "/" in name[len(prefix) :]}
    found = {head.lower(): head for head in heads}
    held_out = [found[name] for name in _HELD_OUT if name in found]
    return [found["train"], *held_out] if "train" in found and held_out else []


def _images(names: Sequence[str], prefix: str) -> list[str]:
    return [name for name in names if name.startswith(prefix) and name.lower().endswith(SUFFIXES)]


def _folders(names: Sequence[str], prefix: str) -> list[str]:
    below = [name[len(prefix) : -1] for name in names if name.startswith(prefix) and name.endswith("/")]
    return sorted(folder for folder in below if folder and "/" not in folder)


def _classes(path: Path, names: Sequence[str], prefix: str) -> ImageFolder:
    where = f"{path}/{prefix}".rstrip("/")
    images = _images(names, prefix)
    if not images:
        raise ValueError(f"{where} holds no images ({', '.join(SUFFIXES)})")
    images = [name for name in images if "/" in name[len(prefix) :]]
    if not images:
        raise ValueError(f"{where} holds images but no sub-folders: sort the images into one sub-folder per class")
    heads = [name[len(prefix) :].split("/")[0] for name in images]
    folders = _folders(names, prefix)
    empty = [folder for folder in folders if folder not in set(heads)]
    if empty:
        raise ValueError(f"{where}: no images of class {', '.join(map(repr, empty))}: add some or remove the folder")
    if len(folders) == 1:
        raise ValueError(f"{where} has the single class {folders[0]!r}: a classifier needs at least two")
    labels = {folder: label for label, folder in enumerate(folders)}
    return ImageFolder(path, images, [labels[head] for head in heads], _words(path, prefix, folders))


def _words(path: Path, prefix: str, folders: list[str]) -> tuple[str, ...]:
    """Names to show for the class folders."""
    for file in (path / prefix / "classes.json", path / "classes.json", path.parent / "classes.json"):
        if file.is_file():
            try:
                words = json.loads(file.read_bytes())
            except ValueError as error:
                raise ValueError(f"{file} is not valid JSON ({error})") from error
            if isinstance(words, dict) and all(isinstance(words.get(folder), str) for folder in folders):
                count = Counter(words[folder] for folder in folders)
                return tuple(
                    words[folder] if count[words[folder]] == 1 else f"{words[folder]} ({folder})" for folder in folders
                )
    return tuple(folders)


def _checked(split: Split) -> Split:
    """The split, if its halves have the same classes."""
    train, val = set(split.train.classes), set(split.val.classes)
    if train != val:
        lone = ", ".join(map(repr, sorted(train ^ val)[:3]))
        raise ValueError(f"{split.how} differ in their classes: only one of them has {lone}")
    return split


def _divide(images: ImageFolder, val_fraction: float, seed: int) -> Split:
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction is {val_fraction}: it must be above 0 and below 1")
    random = np.random.default_rng(seed)
    labels = np.array(images.labels)
    held_out = np.zeros(len(images), dtype=bool)
    for label, name in enumerate(images.classes):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise ValueError(f"class {name!r} of {images.root} has one image: it takes two, to train and to hold out")
        count = min(max(1, round(val_fraction * len(members))), len(members) - 1)
        held_out[random.permutation(members)[:count]] = True
    how = f"{val_fraction:.0%} of each class of {images.root} held out at random, seed {seed}"
    return Split(
        images.subset(np.flatnonzero(~held_out).tolist()), images.subset(np.flatnonzero(held_out).tolist()), how
    )
