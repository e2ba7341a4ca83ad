"""Opening images with masks for training."""

from pathlib import Path

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

    A division is used if it exists: sub-folders such as ``train`` and ``val``, each in such a layout, or the lists of
    Pascal VOC. Otherwise the images whose names have the lowest hashes are held out.

    The classes are those of ``classes.json`` in the folder or above it, a list of names that begins with the
    background; or those of COCO; or all numbers up to the largest in the masks (in 1,000 of them, if there are more).

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: as in ``open_segmentation``; an image has no mask; there are no classes, or too many; or there is
            something else beside the parts.
    """
    path, opened = Path(path), []

    def masked(samples: SegmentationSamples) -> MaskedFiles:
        opened.append(_masked(samples, *opened[:1]))
        return opened[-1]

    if (path / "ImageSets" / "Segmentation" / "train.txt").is_file():
        lists = {"train": "training", "val": "validation"}
        return open_parts(path, lists, [], lambda name: masked(open_segmentation(path, part=name)))
    folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []
    parts = {name: role for name in folders if (role := role_of(name))}
    if not parts:
        return divide(masked(open_segmentation(path, complete=True)), val_fraction, by="file names")
    others = [name for name in folders if name not in parts]
    return open_parts(path, parts, others, lambda name: masked(open_segmentation(path / name, complete=True)))


def _masked(samples: SegmentationSamples, like: MaskedFiles | None = None) -> MaskedFiles:
    """The samples with their classes, or with those of ``like``."""
    classes, ids = (like.classes, like.ids) if like else _find_classes(samples)
    return MaskedFiles(root=samples.root, names=list(samples.names), classes=classes, ids=ids, load=samples.load)


def _find_classes(samples: SegmentationSamples) -> tuple[tuple[str, ...], dict[int, int]]:
    """The names of the classes, and the position among them of each class id but the background's."""
    for file in (samples.root / "classes.json", samples.root.parent / "classes.json"):
        if file.is_file():
            names = as_record(parse_json(read_file(file, limit=json_limit()), str(file)), list[str], str(file))
            ids = {number: number for number in range(1, len(names))}
            where = str(file)
            break
    else:
        named, where = samples.class_names, str(samples.root)
        if not named:
            every = -(-len(samples) // _LOOKED_AT)
            seen = [samples.load(name) for name in tracked("masks", samples.names[::every], len(samples) // every)]
            named = {number: str(number) for number in range(1, 1 + max(max(s.classes, default=0) for s in seen))}
        names = ["background", *(named[number] for number in sorted(named))]
        ids = {number: place for place, number in enumerate(sorted(named), 1)}
    if not 2 <= len(names) <= _MOST_CLASSES:
        raise ValueError(
            f"{where} has {len(names):,} classes, the background included: segmentation needs 2 to {_MOST_CLASSES}"
        )
    return tuple(names), ids
