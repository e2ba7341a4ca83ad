"""``crate evaluate``."""

import logging
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from crate_transformer.cli.checkpoint import Checkpoint
from crate_transformer.cli.terminal import print_json, say
from crate_transformer.configs.language import TokenizerName

if TYPE_CHECKING:
    from crate_transformer.models import Backbone, LanguageModel

_LOG = logging.getLogger("crate_transformer.cli")


@dataclass(frozen=True, kw_only=True)
class Command(Checkpoint):
    """Measure the accuracy of a checkpoint on labelled images, or how well it finds objects that it was never told of;
    of a language model, how well it predicts a text.

    Of DATA the 'val' (or 'test') part is measured where it has one, else all; where images that 'crate train' held out
    for this checkpoint are among them, only those, wherever they lie now, and of a text the part that it held out. The
    output says which, and a warning whether the model may have been trained on some.
    """

    checkpoint: Annotated[str, tyro.conf.Positional] = field()
    """A folder, a file, or the name of bundled weights."""
    data: Path | None = None
    """Folder or zip with one sub-folder per class; with --boxes, of the pictures; for a language model text or token
    ids, as 'crate train --task language' takes them."""
    tokenizer: TokenizerName | None = None
    """What a language model was trained with, which those of 'crate train' tell."""
    class_names: Path | None = None
    """Text file with one name a line, or JSON list: the classes, in their order, of weights without names."""
    segmentation: Path | None = None
    """Folder with masks instead (COCO, VOC, or images/ and masks/): attention mIoU and MaskCut's AP with controls."""
    boxes: Path | None = None
    """JSON file, picture of DATA -> [left, top, right, bottom]: fraction of objects that attention locates."""
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
    real: Path | None = None
    """The authors' real.json: accuracy of ImageNet's validation images by their ReaL labels, too."""
    report: Path | None = None
    """Folder for details.json (by class, confusion matrix, calibration), confusion.png and reliability.png."""
    output: Path | None = None
    """JSON file for the numbers; with --segmentation or --boxes runs/segmentation/results.json unless given."""
    overwrite: bool = False
    """Replace a file there that holds anything but the numbers of the same checkpoint on the same data."""

    def __call__(self) -> None:
        from crate_transformer.cli.classification import FILES, measure_classes, measure_several, write_report
        from crate_transformer.cli.outputs import check_output, checksum
        from crate_transformer.data import open_evaluation
        from crate_transformer.models import LanguageModel
        from crate_transformer.recipes.held_out import held_out_of, unseen
        from crate_transformer.storage import plain, write_json

        if self.limit is not None and self.limit < 4:
            raise ValueError(f"--limit is {self.limit}: at least 4 pictures are needed")
        if self.segmentation is not None and (self.data is not None or self.boxes is not None):
            raise ValueError("--segmentation FOLDER holds pictures and masks: leave --data and --boxes out")
        if self.segmentation is not None or self.boxes is not None:
            self.measure_masks()
            return
        if self.data is None:
            raise ValueError("name what to measure on: --data FOLDER, or --segmentation FOLDER for masks")
        if self.output:
            self.check_output(self.output)
        model = self.load_any()
        if isinstance(model, LanguageModel):
            self.measure_text(model)
            return
        if not model.num_classes:
            raise ValueError(f"{self.checkpoint} has no classifier: num_classes is 0")
        names = self.names_of(model)
        images, images_used, warning = unseen(open_evaluation(self.data), held_out_of(model))
        images = images.relabel(names)
        if warning:
            _LOG.warning("%s", warning)
        images_digest = sha256("".join(sorted(images.keys())).encode()).hexdigest()[:16]
        settings = {"command": "evaluate", "images": images_digest, "real": self.real}
        if self.report:
            settings["checkpoint"] = checksum(model)
            check_output(self.report, settings, overwrite=self.overwrite, writes=FILES)
        batches = {"batch_size": self.batch_size, "workers": self.workers}
        several = self.data if getattr(images, "targets", None) is not None else None
        if several is None and not model.exclusive_classes:
            several = self.checkpoint
        if several is not None:
            if self.report or self.real:
                raise ValueError(f"{several} tells several classes of a picture: leave --report and --real out")
            found = measure_several(model, images, **batches)
        else:
            found, counts = measure_classes(model, images, self.real, **batches)
        result = plain(
            {
                "checkpoint": self.checkpoint,
                "data": self.data,
                "images_used": images_used,
                "images_digest": images_digest,
                "warning": warning,
                **found,
            }
        )
        print_json(result)
        if self.output:
            write_json(self.output, result)
        if self.report:
            write_report(self.report, settings, counts, names, result)

    def measure_text(self, model: "LanguageModel") -> None:
        """Print how well the text is predicted, and write it down."""
        from crate_transformer.recipes.text import evaluate_text
        from crate_transformer.storage import plain, write_json

        if self.class_names or self.real or self.report:
            raise ValueError(f"{self.checkpoint} is a language model: leave --class-names, --real and --report out")
        found = evaluate_text(model, self.data, self.tokenizer, num_workers=self.workers)
        if found["warning"]:
            _LOG.warning("%s", found["warning"])
        result = plain({"checkpoint": self.checkpoint, "data": self.data, **found})
        print_json(result)
        if self.output:
            write_json(self.output, result)

    def check_output(self, file: Path) -> None:
        """Refuse to write over numbers of another checkpoint or other data, or over any other file."""
        from crate_transformer.cli.outputs import check_source

        made_of = {"checkpoint": self.checkpoint, "data": self.segmentation or self.data}
        if self.boxes is not None:
            made_of["boxes"] = self.boxes
        if not self.overwrite:
            check_source([file], file, made_of)

    def names_of(self, model: "Backbone") -> tuple[str, ...]:
        """The classes of the model, from its checkpoint or from ``class_names``.

        Raises:
            ValueError: neither or both have names, or the file does not hold as many as there are classes.
        """
        from crate_transformer.storage import as_record, parse_json, read_file

        if self.class_names is None:
            if model.class_names is None:
                raise ValueError(
                    f"{self.checkpoint} has {model.num_classes} classes without names, so nothing tells which folder "
                    "is which: give their names in order, --class-names FILE"
                )
            return model.class_names
        if model.class_names is not None:
            raise ValueError(f"{self.checkpoint} names its classes itself: leave --class-names out")
        content = read_file(self.class_names)
        if self.class_names.suffix.lower() == ".json":
            names = as_record(parse_json(content, str(self.class_names)), list[str], str(self.class_names))
        else:
            try:
                names = content.decode("utf-8-sig").split("\n")
            except UnicodeDecodeError as error:
                raise ValueError(f"{self.class_names} is not UTF-8 text: {error}") from error
            names = [name.strip() for name in names if name.strip()]
        if len(names) != model.num_classes or len(set(names)) != len(names):
            raise ValueError(
                f"{self.class_names} holds {len(set(names))} different names and {self.checkpoint} has "
                f"{model.num_classes} classes: give one name for each, in order"
            )
        return tuple(names)

    def measure_masks(self) -> None:
        """Print the tables of masks or boxes and write them down."""
        from crate_transformer.cli.evaluation_tables import box_tables, segmentation_tables
        from crate_transformer.storage import write_json

        if self.boxes is not None and self.data is None:
            raise ValueError("--boxes needs the folder or zip of the pictures: --data FOLDER")
        output = self.output or Path("runs/segmentation/results.json")
        self.check_output(output)
        model = self.load()
        shared = {"size": self.size, "limit": self.limit}
        if self.boxes is not None:
            results = box_tables(model, self.data, self.boxes, **shared)
        else:
            options = {"maskcut_size": self.maskcut_size, "layer": self.layer}
            results = segmentation_tables(model, self.segmentation, **options, **shared)
        write_json(output, {"checkpoint": self.checkpoint, **results})
        say(f"all numbers: {output}")
