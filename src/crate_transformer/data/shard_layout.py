"""Labelled images in tar files: labels beside them, or one folder per class; with or without a split."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
from jaxtyping import Int64

from crate_transformer.data.classes import class_words
from crate_transformer.data.files import list_files, with_folders
from crate_transformer.data.images import SUFFIXES
from crate_transformer.data.parts import Split, check_several, find_parts, open_parts, pass_wrappers, role_of, role_word
from crate_transformer.data.shards import ShardImages
from crate_transformer.data.tar_index import TarIndex, open_index

_LOG = logging.getLogger("crate_transformer.data")


def find_in_tars(path: Path, tars: list[str], *, labelled: bool = True) -> ShardImages | Split[ShardImages]:
    """Classes or parts in the tar files ``tars`` of the folder ``path``, or in the tar file ``path``.

    Parts are recognised by the names of the tar files or of their folders, otherwise by folders inside.

    Args:
        labelled: Whether there must be several classes; otherwise images may be unlabelled.

    Raises:
        ValueError: There are no labelled images, a single class, or something beside the parts; or as ``open_index``.
    """
    index = open_index(path, tars)
    told = np.array([not label.endswith("/") for label in index.labels], bool)[index.label]
    rows = np.flatnonzero(told) if told.any() else np.arange(len(told))
    if len(rows) < len(told):
        _LOG.warning("%s: skipped %d images without a label", path, len(told) - len(rows))
    if not len(rows):
        raise ValueError(
            f"{path} contains no labelled images: a sample is key.jpg with key.cls or key.json (label or class), or "
            "the images are in one folder per class"
        )
    words = [role_word(shard.name) for shard in index.shards]
    parts = {word: role for word in words if word and (role := role_of(word))}
    if len(set(parts.values())) > 1:
        others = [shard.name for shard, word in zip(index.shards, words, strict=True) if not word]

        def open_part(part: str) -> ShardImages:
            chosen = np.array([word == part for word in words])[index.shard[rows]]
            return replace(_classes(path, index, rows[chosen], labelled=labelled), prefix=part)

        return open_parts(path, parts, others, open_part)
    if told.any():
        return _classes(path, index, rows, labelled=labelled)

    def open_folder(prefix: str) -> ShardImages:
        inside = np.array([label.startswith(prefix) for label in index.labels], bool)[index.label]
        return _classes(path, index, np.flatnonzero(inside), prefix, labelled=labelled)

    files = _files(index.labels)
    return find_parts(path, sorted(with_folders(files)), files, set(), open_folder)


def _classes(
    path: Path, index: TarIndex, rows: Int64[np.ndarray, " images"], prefix: str = "", *, labelled: bool
) -> ShardImages:
    """Images in tar files; their classes come from label files beside them, or from the folders below ``prefix``."""
    labels = {number: index.labels[number] for number in np.unique(index.label[rows]).tolist()}
    if all(label.endswith("/") for label in labels.values()):
        files = _files(labels.values())
        start = pass_wrappers(sorted(with_folders(files)), files, prefix)
        labels = {number: label[len(start) :].partition("/")[0] for number, label in labels.items()}
    heads = {number: normalize("NFC", label) for number, label in labels.items()}
    numbered = all(head.isascii() and head.isdecimal() for head in heads.values())
    classes = sorted(set(heads.values()), key=(lambda head: (int(head), head)) if numbered else None)
    if not labelled and len(classes) < 2:
        return ShardImages(path, index, rows, None, (), prefix)
    check_several(f"{path}/{prefix}".rstrip("/"), classes)
    places = {name: label for label, name in enumerate(classes)}
    table = np.zeros(len(index.labels), np.int32)
    table[list(heads)] = [places[head] for head in heads.values()]
    shared = list(range(len(classes)))  # one int object per label, shared by all images with this label
    found = list(map(shared.__getitem__, table[index.label[rows]].tolist()))
    names = list_files(path) if path.is_dir() else []
    return ShardImages(path, index, rows, found, class_words(path, names, "", classes), prefix)


def _files(labels: Iterable[str]) -> list[str]:
    """One image name in each folder that is a label, for functions that find classes from names."""
    return [f"{label}0{SUFFIXES[0]}" for label in labels]
