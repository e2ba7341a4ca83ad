"""Opening labelled images on disk: classes as sub-folders, with or without a split, in folders or archives."""

import logging
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np

from crate_transformer.data.cifar import find_cifar
from crate_transformer.data.classes import class_words
from crate_transformer.data.files import list_files
from crate_transformer.data.folder import ImageFolder
from crate_transformer.data.hub_dataset import PREFIX, is_saved_dataset, load_parts
from crate_transformer.data.images import choose_images, is_image
from crate_transformer.data.label_table import LabelTable, read_table
from crate_transformer.data.labelled import LabelledFiles
from crate_transformer.data.multi_label import MultiLabelFolder
from crate_transformer.data.parts import Split, check_several, find_parts, folders_at, open_parts, role_of
from crate_transformer.data.segmentation import masks_among
from crate_transformer.data.shard_layout import find_in_tars
from crate_transformer.data.source import AnySource

_LOG = logging.getLogger("crate_transformer.data")
_KAGGLE = "Data/CLS-LOC/"  # contains train, val and test of ImageNet, beside other folders


def open_images(path: str | Path) -> LabelledFiles:
    """The labelled images of a folder or zip file with one sub-folder per class, or of tar files.

    Classes are sorted by folder name.

    Folders that only wrap the classes are skipped, and folders inside a class belong to it. If a ``classes.json``
    beside the classes (or beside the folder or zip file) maps every class folder to a name, these are the class names;
    otherwise folders named by WordNet ids get the names of ImageNet's classes.

    Without such folders, ``labels.csv`` may contain the classes (see ``label_table.read_table``). If an image may have
    several classes, the source has ``targets`` instead of ``labels``. Kaggle's layout of ImageNet is also supported.

    In a tar file, or a folder of tar files, each sample is an image beside its label (``key.jpg`` and ``key.cls``, or
    ``key.json`` with ``label`` or ``class``), as in WebDataset; or the folders inside are classes.

    ``hf:owner/name``, optionally with ``:part``, is a data set on the Hugging Face hub, read with ``datasets`` if
    installed. A folder written by its ``save_to_disk`` is read in the same way.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: No images, no class folders, an empty class, a single class, or a split instead of classes.
    """
    return _undivided(Path(path))


def _undivided(path: Path, *, labelled: bool = True) -> LabelledFiles:
    found = find(path, labelled=labelled)
    if isinstance(found, Split):
        raise ValueError(f"{path} is divided into parts ({found.how}), not into classes: choose one of the parts")
    return found


def open_split(path: str | Path, *, labelled: bool = True, val_fraction: float = 0.1) -> Split[LabelledFiles]:
    """Training and held-out images: as divided on disk, otherwise divided here, class by class.

    A division on disk is a part for training (``train`` or ``training``) beside one for validation (``val``, ``valid``,
    ``validation``, ``dev``, ``eval`` or ``evaluation``) or, if there is none, for testing (``test`` or ``testing``), in
    upper or lower case. Parts are folders, zip files, folders in a zip file, or tar files with such a word in their
    names or those of their folders (``train-0001.tar``). CIFAR in its authors' binary version is divided too.

    A division made here depends only on the data: the images of each class with the lowest ``ImageFolder.keys`` are
    held out. It stays the same when the data is moved or packed, and nearly the same when images are added.

    Args:
        labelled: Whether there must be classes; otherwise any image files are accepted. Without class folders, without
            ``labels.csv``, or with images beside the folders, ``labels`` is then ``None``.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: As ``open_images``; there is something else beside the parts; the parts have different classes; a
            class is too small to divide.
    """
    found = find(Path(path), labelled=labelled)
    return found if isinstance(found, Split) else divide(found, val_fraction)


def open_evaluation(path: str | Path) -> LabelledFiles:
    """Labelled images for evaluation: the held-out part of a division on disk (see ``open_split``), else all."""
    found = find(Path(path))
    return found.val if isinstance(found, Split) else found


def find(path: Path, *, labelled: bool = True) -> LabelledFiles | Split[LabelledFiles]:
    """The data at ``path``: classes, or parts with classes in them; raises the same errors as ``open_split``."""
    if str(path).startswith(PREFIX) or is_saved_dataset(path):
        return _found_by_datasets(path)
    if found := find_cifar(path):
        return found
    if path.suffix.lower() == ".tar" and path.is_file():
        return find_in_tars(path, [path.name], labelled=labelled)
    names = list_files(path)
    images = [name for name in names if is_image(name)]
    if path.is_dir() and not images and (tars := [name for name in names if name.lower().endswith(".tar")]):
        return find_in_tars(path, tars, labelled=labelled)
    archives = {name for name in names if name.lower().endswith(".zip") and "/" not in name and path.is_dir()}
    start = next((name for name in names if name.endswith(_KAGGLE)), "")

    def open_folder(prefix: str) -> ImageFolder:
        return _classes(path, names, prefix, labelled=labelled)

    def open_archive(part: Path) -> LabelledFiles:
        return _undivided(part, labelled=labelled)

    return find_parts(path, names, images, archives, open_folder, open_archive, start)


def _classes(path: Path, names: Sequence[str], prefix: str, *, labelled: bool) -> ImageFolder:
    """Every folder at ``prefix`` as a class; names that differ only in their Unicode normal form are one class."""
    where = f"{path}/{prefix}".rstrip("/")
    if pair := masks_among(names, prefix):
        what = f"{where} contains images and their masks ({pair[0]}/ and {pair[1]}/), not classes of images"
        other = "they are for the task segmentation and for crate evaluate --segmentation"
        raise ValueError(f"{what}: {other if labelled else f'give {where}/{pair[0]}'}")
    below = [name for name in names if name.startswith(prefix)]
    images = choose_images([name for name in below if "/" in name[len(prefix) :] or is_image(name)], where)
    inside = [name for name in images if "/" in name[len(prefix) :]]
    if len({name[len(prefix) :].partition("/")[0] for name in inside}) < 2:  # no folders of classes
        table = read_table(path, names, [name for name in names if is_image(name)], prefix)
        if table is not None:
            return _labelled(path, names, prefix, table)
        if not labelled:
            return ImageFolder(path, images, None, (), prefix)
    if not labelled and len(inside) < len(images):
        return ImageFolder(path, images, None, (), prefix)
    if not inside:
        raise ValueError(
            f"{where} contains images but no sub-folders: sort the images into one sub-folder per class, or write "
            "labels.csv beside them with one line for each, file,class"
        )
    folders = {folder: normalize("NFC", folder) for folder in folders_at(below, prefix)}
    heads = [folders[name[len(prefix) :].partition("/")[0]] for name in inside]
    classes = sorted(set(folders.values()))
    empty = sorted(set(classes) - set(heads))
    if empty:
        raise ValueError(f"{where}: no images of class {', '.join(map(repr, empty))}: add some or remove the folder")
    check_several(where, classes)
    if len(inside) < len(images):
        _LOG.warning("%s: skipped %d images outside the class folders", where, len(images) - len(inside))
    labels = {name: label for label, name in enumerate(classes)}
    return ImageFolder(
        path, inside, [labels[head] for head in heads], class_words(path, names, prefix, classes), prefix
    )


def _found_by_datasets(path: Path) -> LabelledFiles | Split[LabelledFiles]:
    """The parts of a Hugging Face data set."""
    found = load_parts(str(path))
    parts = {name: role for name in found if (role := role_of(name))}
    if len(set(parts.values())) > 1:
        return open_parts(path, parts, sorted(set(found) - set(parts)), found.__getitem__)
    if len(found) > 1:
        raise ValueError(f"{path} has the parts {', '.join(found)}: choose one, {PREFIX}owner/name:part")
    return next(iter(found.values()))


def _labelled(path: Path, names: Sequence[str], prefix: str, table: LabelTable) -> ImageFolder:
    """The images and classes of a table."""
    check_several(f"{path}/{prefix}".rstrip("/"), table.classes)
    settings = {"root": path, "names": table.names, "prefix": prefix}
    settings["classes"] = class_words(path, names, prefix, table.classes)
    if table.targets is not None:
        return MultiLabelFolder(targets=table.targets, **settings)
    return ImageFolder(labels=table.labels, **settings)


def divide(images: AnySource, val_fraction: float) -> Split[AnySource]:
    """Hold out the images with the lowest keys, of every class if they have labels."""
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction is {val_fraction}: it must be greater than 0 and less than 1")
    labels = np.zeros(len(images), np.int64) if images.labels is None else np.array(images.labels)
    counts = np.bincount(labels)
    if (alone := np.flatnonzero(counts == 1)).size:
        which = f"class {images.classes[alone[0]]!r} of {images.where}" if images.labels is not None else images.where
        raise ValueError(f"{which} has only one image: two are needed, one for training and one to hold out")
    ranked = np.lexsort((np.array(images.keys(), "S16"), labels))
    places = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels[ranked]]  # rank within the class
    held_out = np.empty(len(labels), bool)
    held_out[ranked] = places < np.clip(np.rint(val_fraction * counts), 1, counts - 1)[labels[ranked]]
    train, val = (images.subset(np.flatnonzero(chosen).tolist()) for chosen in (~held_out, held_out))
    of_what = f"each class of {images.where}" if images.labels is not None else images.where
    how = f"{val_fraction:.0%} of {of_what} held out, chosen by file names and sizes"
    return Split(train, val, how, divided_here=True)
