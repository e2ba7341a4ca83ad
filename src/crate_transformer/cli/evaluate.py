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
    """Measure the accuracy of a checkpoint on labelled images.

    Of DATA the 'val' (or 'test') part is measured where it has one; of images that 'crate train' divided itself for
    this checkpoint, those that it held out; else all. The output says which.
    """

    checkpoint: Annotated[str, tyro.conf.Positional] = field()
    """A folder, a file, or the name of weights in the box."""
    data: Path
    """Folder or zip with one sub-folder per class."""
    batch_size: int = 128
    workers: int = 0
    """Processes that read images."""
    output: Path | None = None
    """Also write the numbers to this JSON file."""

    def __call__(self) -> None:
        from crate_transformer.data import eval_loader, open_evaluation
        from crate_transformer.evaluation import accuracy
        from crate_transformer.reports.results import write_json

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
