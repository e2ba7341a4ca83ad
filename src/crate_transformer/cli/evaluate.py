"""``crate evaluate``."""

import logging
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from crate_transformer.cli.checkpoint import Checkpoint
from crate_transformer.cli.terminal import print_json, say
from crate_transformer.configs.language import TokenizerName

if TYPE_CHECKING:
    from crate_transformer.models import Backbone, LanguageModel, Segmenter

_CHANGE_NOTHING = {"batch_size", "workers", "report", "output", "overwrite"}
_LOG = logging.getLogger("crate_transformer.cli")


@dataclass(frozen=True, kw_only=True)
class Command(Checkpoint):
    """Evaluate a checkpoint: accuracy on labelled images, segmentation of objects without segmentation labels, mIoU of
    a model of 'crate train --task segmentation', or the loss of a language model on text.

    If DATA has a 'val' (or 'test') part, only this part is used. If DATA contains images (or text) that 'crate train'
    held out for this checkpoint, only these are used, even if the data was moved. The output says what was used, and a
    warning says if the model may have been trained on it.
    """

    checkpoint: Annotated[str, tyro.conf.Positional] = field()
    """A folder, a file, or the name of bundled weights."""
    data: Path | None = None
    """Folder or zip with one sub-folder per class; with --boxes, folder or zip of images; for a language model, text or
    token ids as for 'crate train --task language'; for a segmenter, images with masks as for its training."""
    tokenizer: TokenizerName | None = None
    """Tokenizer of the language model; checkpoints of 'crate train' store it."""
    class_names: Path | None = None
    """Class names in order, for weights without names: a text file with one name per line, or a JSON list."""
    segmentation: tuple[Path, ...] = ()
    """Folders with masks (COCO, VOC, or images/ and masks/), or folders that contain such sets: does the attention mark
    objects? AUC, mIoU, CorLoc and MaskCut's AP, with controls."""
    parts: tuple[Path, ...] = ()
    """Folders with images/, index.json and parts: does a head mark a part? Pointing accuracy, with controls."""
    baseline: str | None = None
    """Other weights whose heads are a control of --parts, such as those of a ViT."""
    boxes: Path | None = None
    """JSON file {image of DATA: [left, top, right, bottom]}: compute the fraction of objects that attention locates
    (CorLoc)."""
    size: int | None = None
    """Image size in pixels for masks and boxes from attention; default: twice the training size."""
    maskcut_size: int = 480
    """Image size in pixels for MaskCut; 0 skips MaskCut."""
    layer: int = -1
    """Layer for the paper's mIoU (best head per image) and for MaskCut's features."""
    limit: int | None = None
    """Number of images with masks or boxes to use, of each set; default: all. Refused for other data."""
    seed: int = 0
    """Seed of the untrained model and of the halves on which heads are chosen and evaluated."""
    batch_size: int | None = None
    """Images that the model computes at once; default: 128; 32 for a segmenter."""
    workers: int = 0
    """Data-loading processes."""
    real: Path | None = None
    """The authors' real.json: also compute accuracy with ReaL labels on ImageNet's validation images."""
    report: Path | None = None
    """Folder for details.json (by class, confusion matrix, calibration), confusion.png and reliability.png."""
    output: Path | None = None
    """JSON file for the results; default with --segmentation, --parts or --boxes: runs/segmentation/results.json. With
    --segmentation or --parts a page with the tables is written beside it."""
    overwrite: bool = False
    """Replace an output file even if it does not hold results of the same command with the same settings."""

    def __call__(self) -> None:
        from crate_transformer.cli.classification import FILES, measure_classes, measure_several, names_of, write_report
        from crate_transformer.cli.evaluation_options import check_kind, check_options
        from crate_transformer.cli.outputs import check_output, checksum
        from crate_transformer.data import open_evaluation
        from crate_transformer.models import Backbone
        from crate_transformer.recipes.held_out import held_out_of, unseen
        from crate_transformer.storage import plain, write_json

        check_options(self)
        if self.data is None or self.boxes is not None:
            self.measure_masks()
            return
        if self.output:
            self.check_output(self.output)
        model = self.load_any()
        check_kind(self, model)
        if not isinstance(model, Backbone):
            self.measure_other(model, self.data)
            return
        if not model.num_classes:
            raise ValueError(f"{self.checkpoint} has no classifier: num_classes is 0")
        names = names_of(model, self.checkpoint, self.class_names)
        images, images_used, warning = unseen(open_evaluation(self.data), held_out_of(model))
        images = images.relabel(names)
        if warning:
            _LOG.warning("%s", warning)
        images_digest = sha256("".join(sorted(images.keys())).encode()).hexdigest()[:16]
        settings = {"command": "evaluate", "images": images_digest, "real": self.real}
        if self.report:
            settings["checkpoint"] = checksum(model)
            check_output(self.report, settings, overwrite=self.overwrite, writes=FILES)
        counts = None
        several = self.data if getattr(images, "targets", None) is not None else None
        if several is None and not model.exclusive_classes:
            several = self.checkpoint
        if several is not None:
            if self.report or self.real:
                raise ValueError(f"{several} has several classes per image: leave --report and --real out")
            found = measure_several(model, images, **self.loading)
        else:
            found, counts = measure_classes(model, images, self.real, **self.loading)
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
            write_json(self.output, result | {"settings": self.settings})
        if self.report and counts is not None:
            write_report(self.report, settings, counts, names, result)

    def measure_other(self, model: "LanguageModel | Segmenter", data: Path) -> None:
        """Print and save the loss on the text, or the scores on images with masks."""
        from crate_transformer.models import LanguageModel
        from crate_transformer.recipes.masks import evaluate_masks
        from crate_transformer.recipes.text import evaluate_text
        from crate_transformer.storage import plain, write_json

        if self.class_names or self.real or self.report:
            kind = "language model" if isinstance(model, LanguageModel) else "segmenter"
            raise ValueError(f"{self.checkpoint} is a {kind}: leave --class-names, --real and --report out")
        if isinstance(model, LanguageModel):
            if self.batch_size is not None:
                raise ValueError(f"{self.checkpoint} is a language model: leave --batch-size out")
            found = evaluate_text(model, data, self.tokenizer, num_workers=self.workers)
        else:
            found = evaluate_masks(model, data, limit=self.limit, **self.loading)
        if found["warning"]:
            _LOG.warning("%s", found["warning"])
        result = plain({"checkpoint": self.checkpoint, "data": data, **found})
        print_json(result)
        if self.output:
            write_json(self.output, result | {"settings": self.settings})

    def check_output(self, file: Path) -> None:
        """Refuse to overwrite results of other settings, or any other file."""
        from crate_transformer.cli.outputs import check_source

        if not self.overwrite:
            files = [file, *([file.with_suffix(".html")] if self.annotated else [])]
            check_source(files, file, self.settings, "settings")

    @property
    def settings(self) -> dict[str, object]:
        """Everything that the results depend on."""
        from crate_transformer.storage import plain

        names = [field.name for field in fields(self) if field.name not in _CHANGE_NOTHING]
        return {name: plain(getattr(self, name), None) for name in names}

    @property
    def loading(self) -> dict[str, int]:
        """The options of the loader, without those not given."""
        return {"num_workers": self.workers} | ({} if self.batch_size is None else {"batch_size": self.batch_size})

    @property
    def annotated(self) -> tuple[Path, ...]:
        """The folders with masks or parts."""
        return self.segmentation + self.parts

    def measure_masks(self) -> None:
        """Print and save the tables of masks or boxes."""
        from crate_transformer.cli.evaluation_tables import box_tables
        from crate_transformer.storage import write_json

        boxes, data = self.boxes, self.data
        output = self.output or Path("runs/segmentation/results.json")
        self.check_output(output)
        model = self.load()
        if boxes is not None and data is not None:
            results = box_tables(model, data, boxes, size=self.size, limit=self.limit, seed=self.seed)
            write_json(output, {"checkpoint": self.checkpoint, **results, "settings": self.settings})
        else:
            self.measure_emergence(model, output)
        say(f"all results: {output}")

    def measure_emergence(self, model: "Backbone", output: Path) -> None:
        """Print the tables of images with masks or parts, and write them as JSON and as a page."""
        from crate_transformer.cli.evaluation_tables import (
            open_mask_sets,
            open_part_sets,
            part_tables,
            segmentation_tables,
        )
        from crate_transformer.cli.outputs import checksum
        from crate_transformer.reports.emergence import emergence_sections
        from crate_transformer.reports.page import page_bytes
        from crate_transformer.reports.parts import parts_sections
        from crate_transformer.storage import json_bytes, write_files

        masks, parts = open_mask_sets(self.segmentation, self.limit), open_part_sets(self.parts, self.limit)
        shared = {"size": self.size, "seed": self.seed}
        baseline = Checkpoint(checkpoint=self.baseline).load() if self.baseline else None
        options = {"maskcut_size": self.maskcut_size, "layer": self.layer}
        about = {"checkpoint": self.checkpoint, "checksum": checksum(model), "settings": self.settings}
        footer = f"{model.provenance}\nseed {self.seed}, checksum of the weights {about['checksum']}"
        lead = f"Agreement of the attention of {self.checkpoint} with objects and their parts, beside its controls."
        measured = {
            "sets": segmentation_tables(model, masks, **options, **shared),
            "parts": part_tables(model, parts, baseline=baseline, **shared),
        }
        results: dict[str, dict[str, Any]] = {kind: {} for kind in measured}
        for kind, several in measured.items():
            for name, found in several:  # written after each set, so that nothing is lost if a later one fails
                results[kind][name] = found
                sections = emergence_sections(results["sets"]) + parts_sections(results["parts"])
                page = page_bytes("Does the attention mark objects and parts?", lead, sections, footer)
                content = {kind: {n: each.to_dict() for n, each in some.items()} for kind, some in results.items()}
                files = {output.name: json_bytes(about | content), output.with_suffix(".html").name: page}
                write_files(output.parent, files)
