"""Images with masks, in COCO or Pascal VOC layout, or as pairs of folders."""

from collections.abc import Collection
from pathlib import Path

from crate_transformer.data.coco import open_coco
from crate_transformer.data.files import is_clutter
from crate_transformer.data.images import is_image
from crate_transformer.data.mask_pictures import open_mask_pictures
from crate_transformer.data.part_files import is_part_folder
from crate_transformer.data.segmentation_samples import SegmentationSamples

_NEEDS = "instances.json and images/ (COCO), JPEGImages/ and SegmentationClass/ (VOC), or images/ and masks/"


def open_segmentation(root: str | Path, *, part: str = "val", complete: bool = False) -> SegmentationSamples:
    """Detect the layout of a folder and open it: ``instances.json`` with ``images/`` (COCO), ``JPEGImages`` with
    ``SegmentationClass`` (VOC), or ``images/`` and ``masks/`` with the same names in the same sub-folders; see
    ``open_coco`` and ``open_mask_pictures``.

    Args:
        part: for VOC, the list in ``ImageSets/Segmentation`` to use if it exists.
        complete: an image in ``images/`` without a mask is an error instead of being skipped.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: it has none of these layouts, or contains no samples.
    """
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist")
    layout = _layout(root)
    if layout is None:
        raise ValueError(f"{root} is not a segmentation data set: it needs {_NEEDS}")
    if layout == "coco":
        samples = open_coco(root)
    elif layout == "voc":
        samples = open_mask_pictures(root, "voc", "JPEGImages", "SegmentationClass", "SegmentationObject", part=part)
    else:
        samples = open_mask_pictures(root, "masks", "images", "masks", "objects", complete=complete)
    if not len(samples):
        raise ValueError(f"{root} contains no image with a mask")
    return samples


def find_segmentation(root: str | Path) -> dict[str, Path]:
    """The folders that ``open_segmentation`` opens, by a short name: ``root`` itself, or folders up to two levels below
    it, except those whose masks are parts (``is_part_folder``).

    Raises:
        FileNotFoundError: ``root`` does not exist.
        ValueError: there is none.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} does not exist or is no folder")
    if _layout(root):
        return {root.resolve().name: root}
    children = sorted(path for path in root.iterdir() if path.is_dir() and not is_clutter(path.name))
    below = [path for child in children for path in sorted(child.iterdir()) if path.is_dir() and not _layout(child)]
    found = [path for path in sorted([*children, *below]) if _layout(path) and not is_part_folder(path)]
    if not found:
        raise ValueError(f"{root} is not a segmentation data set and contains none: a set needs {_NEEDS}")
    return {str(path.relative_to(root)): path for path in found}


def masks_among(names: Collection[str], prefix: str) -> tuple[str, str] | None:
    """The folders of images and of their masks at ``prefix``, if such are among the names of files and folders."""
    for pair in (("images", "masks"), ("JPEGImages", "SegmentationClass")):
        starts = [f"{prefix}{folder}/" for folder in pair]
        if all(start in names for start in starts):
            images, masks = (
                {name[len(start) :].rpartition(".")[0] for name in names if name.startswith(start) and is_image(name)}
                for start in starts
            )
            if images & masks:
                return pair
    return None


def _layout(root: Path) -> str | None:
    if (root / "instances.json").is_file():
        return "coco"
    if (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir():
        return "voc"
    return "masks" if (root / "images").is_dir() and (root / "masks").is_dir() else None
