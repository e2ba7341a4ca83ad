"""Images with masks, in COCO or Pascal VOC layout, or as pairs of folders."""

from pathlib import Path

from crate_transformer.data.coco import open_coco
from crate_transformer.data.mask_pictures import open_mask_pictures
from crate_transformer.data.segmentation_samples import SegmentationSamples


def open_segmentation(root: str | Path) -> SegmentationSamples:
    """Detect the layout of a folder and open it: ``instances.json`` with ``images/`` (COCO), ``JPEGImages`` with
    ``SegmentationClass`` (VOC; ``ImageSets/Segmentation/val.txt`` is used if it exists), or ``images/`` and ``masks/``
    with the same names in the same sub-folders; see ``open_coco`` and ``open_mask_pictures``.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: it has none of these layouts, or contains no samples.
    """
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist")
    if (root / "instances.json").is_file():
        samples = open_coco(root)
    elif (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir():
        samples = open_mask_pictures(root, "voc", "JPEGImages", "SegmentationClass", "SegmentationObject")
    elif (root / "images").is_dir() and (root / "masks").is_dir():
        samples = open_mask_pictures(root, "masks", "images", "masks", "objects")
    else:
        raise ValueError(
            f"{root} is not a segmentation data set: it needs instances.json and images/ (COCO), JPEGImages/ and "
            "SegmentationClass/ (VOC), or images/ and masks/"
        )
    if not len(samples):
        raise ValueError(f"{root} contains no image with a mask")
    return samples
