"""``crate evaluate``."""

import json
import posixpath
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from crate_transformer.cli.checkpoint import Checkpoint

if TYPE_CHECKING:
    from crate_transformer.data import ImageFolder


@dataclass(frozen=True, kw_only=True)
class Command(Checkpoint):
    """Measure the accuracy of a checkpoint on labelled images, or how well it finds objects that it was never told of.

    Of DATA the 'val' (or 'test') part is measured where it has one; of images that 'crate train' divided itself for
    this checkpoint, those that it held out; else all. The output says which.
    """

    checkpoint: Annotated[str, tyro.conf.Positional] = field()
    """A folder, a file, or the name of weights in the box."""
    data: Path | None = None
    """Folder or zip with one sub-folder per class; with --boxes, of the pictures."""
    segmentation: Path | None = None
    """Folder with masks instead (COCO, VOC, or images/ and masks/): attention mIoU and MaskCut's AP with controls."""
    boxes: Path | None = None
    """JSON file, picture of DATA -> [left, top, right, bottom]: share of objects that attention locates."""
    size: int | None = None
    """Side of the pictures for masks and boxes from attention; twice that of the training unless given."""
    maskcut_size: int = 480
    """Side of the pictures for MaskCut; 0 leaves it out."""
    layer: int = -1
    """Whose heads compete for the mIoU of the paper's protocol, and whose projections MaskCut cuts."""
    limit: int | None = None
    """How many pictures with masks or boxes to take; all unless given."""
    batch_size: int = 128
    workers: int = 0
    """Processes that read images."""
    output: Path | None = None
    """JSON file for the numbers; with --segmentation or --boxes runs/segmentation/results.json unless given."""

    def __call__(self) -> None:
        from crate_transformer.data import eval_loader, open_evaluation
        from crate_transformer.evaluation import accuracy
        from crate_transformer.storage import write_json

        if self.limit is not None and self.limit < 4:
            raise ValueError(f"--limit is {self.limit}: at least 4 pictures are needed")
        if self.segmentation is not None or self.boxes is not None:
            self.measure_masks()
            return
        if self.data is None:
            raise ValueError("name the images to measure on: --data FOLDER, or --segmentation FOLDER for masks")
        model = self.load()
        if not model.num_classes:
            raise ValueError(f"{self.checkpoint} has no classifier: num_classes is 0")
        images, images_used = self.choose(open_evaluation(self.data))
        if model.class_names:
            images = images.relabel(model.class_names)
        elif len(images.classes) != model.num_classes:
            raise ValueError(
                f"{self.data} has {len(images.classes)} classes and {self.checkpoint} has {model.num_classes} without "
                "names: measure on images of the classes that it was trained on"
            )
        loader = eval_loader(images, model.preprocessing, batch_size=self.batch_size, num_workers=self.workers)
        result = {
            "checkpoint": self.checkpoint,
            "data": str(self.data),
            "images_used": images_used,
            **asdict(accuracy(model, loader)),
        }
        print(json.dumps(result, indent=1))
        if self.output:
            write_json(self.output, result)

    def measure_masks(self) -> None:
        """Print the tables of masks or boxes and write them down."""
        from crate_transformer.cli.segmentation import box_tables, segmentation_tables
        from crate_transformer.storage import write_json

        if self.boxes is not None and self.data is None:
            raise ValueError("--boxes needs the folder or zip of the pictures: --data FOLDER")
        model = self.load()
        shared = {"size": self.size, "limit": self.limit}
        if self.boxes is not None:
            results = box_tables(model, self.data, self.boxes, **shared)
        else:
            options = {"maskcut_size": self.maskcut_size, "layer": self.layer}
            results = segmentation_tables(model, self.segmentation, **options, **shared)
        output = self.output or Path("runs/segmentation/results.json")
        write_json(output, {"checkpoint": self.checkpoint, **results})
        print(f"all numbers: {output}")

    def choose(self, images: "ImageFolder") -> tuple["ImageFolder", str]:
        """The images to measure, none of which the checkpoint was trained on as far as is known, and which these are.

        Raises:
            ValueError: the folder holds none of the images that were held out.
        """
        checkpoint = Path(self.checkpoint)
        record = (checkpoint.parent if checkpoint.is_file() else checkpoint) / "split.json"
        split = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        if split.get("divided_here") and split["data"] == str(self.data.resolve()):
            names = set(split["held_out"])
            held_out = images.subset([i for i, name in enumerate(images.names) if name in names])
            if not len(held_out):
                raise ValueError(f"{self.data} holds none of the images that {record} lists as held out")
            return held_out, f"the images of {self.data} that training held out, listed in {record}"
        part = posixpath.commonpath(images.names)
        return images, f"the folder {part} of {images.root}" if part else f"all images of {images.root}"
