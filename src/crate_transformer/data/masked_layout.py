"""Opening images with masks for training."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from crate_transformer.data.decode import BrokenImageError
from crate_transformer.data.files import is_clutter
from crate_transformer.data.layout import divide
from crate_transformer.data.masked import MaskedFiles
from crate_transformer.data.parts import Split, open_parts, role_of
from crate_transformer.data.segmentation import open_segmentation
from crate_transformer.data.segmentation_samples import SegmentationSamples
from crate_transformer.progress import tracked
from crate_transformer.storage import as_record, json_limit, parse_json, read_file

_LOOKED_AT = 1000  # masks that are read to find the classes
_MOST_CLASSES = 255  # that fit in a byte beside the value for none


def open_masked(path: str | Path, *, val_fraction: float = 0.1) -> Split[MaskedFiles]:
    """Training and held-out images with masks, in a layout of ``open_segmentation``.

    A division is used if it exists: sub-folders such as ``train`` and ``val``, each in such a layout or in ``images/``
    and ``masks/``, or the lists of Pascal VOC. Otherwise the images with the lowest ``keys`` are held out.

    The classes are those of ``classes.json`` in the folder or above it, a list of names that begins with the
    background; or those of COCO; or all numbers up to the largest in the masks (in 1,000 of them, if there are more).

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: as in ``open_segmentation``; an image has no mask; there are no classes, or too many; there is
            something else beside the parts; or one of the two lists of Pascal VOC is missing.
    """
    path, opened = Path(path), []

    def masked(samples: SegmentationSamples) -> MaskedFiles:
        opened.append(_masked(samples, *opened[:1]))
        return opened[-1]

    lists = {"train": "training", "val": "validation"}
    missing = [file for name in lists if not (file := path / "ImageSets" / "Segmentation" / f"{name}.txt").is_file()]
    if len(missing) == 1:
        raise ValueError(f"{missing[0]} is missing: {path} needs the lists of training and of held-out images")
    if not missing:
        return open_parts(path, lists, [], lambda name: masked(open_segmentation(path, part=name)))
    entries = path.iterdir() if path.is_dir() else ()
    folders = {entry.name for entry in entries if entry.is_dir() and not is_clutter(entry.name)}
    if parts := _roles(folders):
        others = sorted(folders - set(parts))
        return open_parts(path, parts, others, lambda name: masked(open_segmentation(path / name, complete=True)))
    whole = masked(open_segmentation(path, complete=True))
    heads = [name.rpartition("/")[0].partition("/")[0] for name in whole.names]
    if parts := _roles(heads):
        others = sorted({head or "images" for head in heads} - set(parts))
        return open_parts(
            path, parts, others, lambda part: whole.subset([i for i, head in enumerate(heads) if head == part])
        )
    return divide(whole, val_fraction)


def _roles(names: Iterable[str]) -> dict[str, str]:
    """The names of parts, with the role of each."""
    return {name: role for name in sorted(set(names)) if (role := role_of(name))}


def _masked(samples: SegmentationSamples, like: MaskedFiles | None = None) -> MaskedFiles:
    """The samples with their classes, or with those of ``like``."""
    classes, ids = (like.classes, _ids_like(samples, like)) if like else _find_classes(samples)
    if samples.layout == "masks" and samples.class_names and len(classes) > 2:
        raise ValueError(
            f"the masks in {samples.root} contain only 0 and 255, but there are {len(classes)} classes: 255 marks "
            "undecided pixels beside classes, so add a mask with a class, or name two classes"
        )
    return MaskedFiles(
        root=samples.root,
        names=list(samples.names),
        files=samples.files,
        mask_files=samples.mask_files,
        classes=classes,
        ids=ids,
        load=samples.load,
    )


def _ids_like(samples: SegmentationSamples, like: MaskedFiles) -> Mapping[int, int]:
    """The position in ``like.classes`` of each class id of the samples."""
    if not samples.class_names or _file_of_names(like.root):
        return like.ids
    if unknown := sorted(set(samples.class_names.values()) - set(like.classes)):
        raise ValueError(
            f"{samples.root} has the class {unknown[0]!r}, but {like.root} does not: name all classes in both"
        )
    return {number: like.classes.index(name) for number, name in samples.class_names.items()}


def _file_of_names(root: Path) -> Path | None:
    return next((file for at in (root, root.parent) if (file := at / "classes.json").is_file()), None)


def _largest_class(samples: SegmentationSamples) -> int:
    """The largest number in the masks; images that cannot be read are left out, since loaders skip them."""
    names, largest, broken = samples.names[:: -(-len(samples) // _LOOKED_AT)], [], None
    for name in tracked("masks", names, len(names)):
        try:
            largest.append(max(samples.load(name).classes, default=0))
        except BrokenImageError as error:
            broken = error
    if broken and not largest:
        raise broken
    return max(largest)


def _find_classes(samples: SegmentationSamples) -> tuple[tuple[str, ...], dict[int, int]]:
    """The names of the classes, and the position among them of each class id but the background's."""
    if file := _file_of_names(samples.root):
        names = as_record(parse_json(read_file(file, limit=json_limit()), str(file)), list[str], str(file))
        ids, where = {number: number for number in range(1, len(names))}, str(file)
    else:
        named, where = samples.class_names, str(samples.root)
        if not named:
            named = {number: str(number) for number in range(1, 1 + _largest_class(samples))}
        names = ["background", *(named[number] for number in sorted(named))]
        ids = {number: place for place, number in enumerate(sorted(named), 1)}
    if not 2 <= len(names) <= _MOST_CLASSES:
        raise ValueError(
            f"{where} has {len(names):,} classes, the background included: segmentation needs 2 to {_MOST_CLASSES}"
        )
    return tuple(names), ids
