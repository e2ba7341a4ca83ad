"""Training, validation and test parts of a data set, recognised by the names of files and folders."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from crate_transformer.data.source import AnySource, Samples

_ROLES = {
    "training": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev", "eval", "evaluation"),
    "test": ("test", "testing"),
}


Part = TypeVar("Part", bound=Samples, covariant=True)


@dataclass(frozen=True, eq=False)
class Split(Generic[Part]):
    """Training samples and held-out samples.

    ``how`` describes the division; ``divided_here`` is true if it was made here and not found on disk.
    """

    train: Part
    val: Part
    how: str
    divided_here: bool


def find_parts(
    path: Path,
    names: Sequence[str],
    images: Sequence[str],
    archives: Collection[str],
    open_classes: Callable[[str], AnySource],
    open_archive: Callable[[Path], AnySource] | None = None,
    start: str = "",
) -> AnySource | Split[AnySource]:
    """Classes, or parts with classes in them, among the names of files and folders; parts are looked for at
    ``start``."""
    prefix, heads = start, _heads(images, start)
    if len({role_of(name) for name in {*heads, *archives}} - {None}) < 2:
        archives, prefix = set(), pass_wrappers(names, images)
        heads = _heads(images, prefix)
    parts = {name: role for name in sorted({*heads, *archives}) if (role := role_of(name))}
    others = sorted(heads - set(parts)) + sorted(set(archives) - set(parts) if set(archives) & set(parts) else [])
    holds_classes = any(name in archives for name in parts) or any(
        name.startswith(f"{prefix}{part}/") and name.count("/", len(prefix) + len(part) + 1)
        for part in parts
        for name in images
    )
    if not parts or (len(parts) == 1 and (not others or (len(others) > 1 and not holds_classes))):
        return open_classes(prefix)  # "train" among cars and ships is a class

    def open_part(part: str) -> AnySource:
        if part in archives:
            assert open_archive is not None
            return open_archive(path / part)
        start = f"{prefix}{part}/"
        return open_classes(pass_wrappers(names, [name for name in images if name.startswith(start)], start))

    return open_parts(path, parts, others, open_part)


def open_parts(
    path: Path, parts: dict[str, str], others: list[str], open_part: Callable[[str], AnySource]
) -> Split[AnySource]:
    """The ``parts`` (name -> role) of ``path`` as a split; ``others`` are beside them and belong to no part.

    Raises:
        ValueError: There are others, there is not exactly one part for each purpose, or the classes differ.
    """
    training, held_out, how = choose_parts(path, parts, others)
    train, val = open_part(training), open_part(held_out)
    lone = sorted(set(train.classes) ^ set(val.classes))
    if lone:
        shown = ", ".join(map(repr, lone[:3]))
        raise ValueError(f"{training} and {held_out} of {path} have different classes: only one of them has {shown}")
    return Split(train, val, how, divided_here=False)


def _heads(images: Sequence[str], prefix: str) -> set[str]:
    """The folders at ``prefix`` that contain images."""
    return {name[len(prefix) :].partition("/")[0] for name in images if "/" in name[len(prefix) :]}


def role_of(name: str) -> str | None:
    """The role of a folder or zip file by its name: training, validation or test; ``None`` if unknown."""
    stem = name.lower().removesuffix(".zip")
    return next((role for role, names in _ROLES.items() if stem in names), None)


def role_word(name: str) -> str | None:
    """The word in the name of a tar file, or of its folders, that gives its role."""
    return next((word for word in re.split(r"[^a-z]+", name.lower()) if role_of(word)), None)


def choose_parts(path: Path, parts: dict[str, str], others: list[str]) -> tuple[str, str, str]:
    """The training part, the held-out part, and a description that names unused parts; arguments and errors as in
    ``open_parts``."""
    if others:
        shown = " and ".join(others[:3]) + (f" and {len(others) - 3} others" if len(others) > 3 else "")
        raise ValueError(f"{path} contains {shown} beside {' and '.join(parts)}: move one or the other out of it")
    of_role = {role: [part for part in parts if parts[part] == role] for role in _ROLES}
    held_out = of_role["validation"] or of_role["test"]
    for wanted, found in (("for training", of_role["training"]), ("held out", held_out)):
        if len(found) != 1:
            raise ValueError(
                f"{path} contains {' and '.join(parts)}, of which {' and '.join(found) or 'none'} "
                f"{'are' if len(found) > 1 else 'is'} {wanted}: keep exactly one"
            )
    (training,), (chosen,) = of_role["training"], held_out
    alone = [part for part in parts if part not in (training, chosen)]
    rest = f"; {' and '.join(alone)} {'is' if len(alone) == 1 else 'are'} not used" if alone else ""
    return training, chosen, f"{training} and {chosen} of {path}{rest}"


def pass_wrappers(names: Sequence[str], images: Sequence[str], prefix: str = "") -> str:
    """The prefix of the class folders, below folders that contain no images and only one folder with class folders."""
    while images and all(name.count("/", len(prefix)) >= 2 for name in images):
        folders = folders_at(names, prefix)
        if len(folders) > 1:
            break
        prefix += f"{folders[0]}/"
    return prefix


def folders_at(names: Sequence[str], prefix: str) -> list[str]:
    """The folders at ``prefix``; names of folders end in a slash."""
    ends = ((name, name.find("/", len(prefix))) for name in names if name.startswith(prefix))
    return sorted(name[len(prefix) : end] for name, end in ends if end == len(name) - 1 and end >= len(prefix))


def check_several(where: str, classes: Sequence[str]) -> None:
    """Raise ``ValueError`` if there is a single class."""
    if len(classes) == 1:
        raise ValueError(f"{where} has the single class {classes[0]!r}: a classifier needs at least two")
