"""``crate segment``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from crate_transformer.cli.checkpoint import Checkpoint
from crate_transformer.cli.options import given
from crate_transformer.cli.terminal import say

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from crate_transformer.cli.pictures import Pictures
    from crate_transformer.models import Backbone, VisionModel

_HEAD_SAMPLE = 32
_OF_ATTENTION, _OF_MASKCUT = ("head", "mass"), ("num_masks", "tau")
_OF_OBJECTS = ("layer", *_OF_ATTENTION, *_OF_MASKCUT)


@dataclass(frozen=True, kw_only=True)
class Command:
    """Segment images: masks as PNG and overlays. Any vision model marks objects, without names; a segmenter gives each
    pixel a class."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Images, or folders of images."""
    weights: Checkpoint = field(default_factory=Checkpoint)
    output: Path = Path("runs/segment")
    """Folder for masks/, overlays/, results.json, and objects/ and coco_results.json (of a segmenter: classes/)."""
    overwrite: bool = False
    """Replace the results of another run; without it the same command resumes where it was stopped."""
    method: Literal["maskcut", "attention"] | None = None
    """maskcut: normalised cuts of the patch graph; attention: threshold the attention of the class token; default: the
    classes of a model of 'crate train --task segmentation', maskcut for other models."""
    size: int | None = None
    """Shorter side of the images for the model, in pixels; default: 480 for maskcut, but at most 60 patches; twice the
    training size for attention; the size of the evaluation for a segmenter's classes."""
    layer: int | None = None
    """Zero-based layer; negative ones count from the end; default: the last (attention: the one stored with the
    weights)."""
    head: int | None = None
    """Attention head; default: the one stored with the weights, else the one that separates best."""
    mass: float = 0.6
    """Fraction of the attention mass that a mask contains."""
    num_masks: int = 3
    """Largest number of objects per image for maskcut."""
    tau: float = 0.15
    """Cosine similarity above which maskcut connects two patches."""

    def __call__(self) -> int:
        from crate_transformer.cli.class_files import ClassFolder
        from crate_transformer.cli.object_files import ObjectFolder
        from crate_transformer.cli.outputs import checksum
        from crate_transformer.cli.pictures import Pictures
        from crate_transformer.inspection import class_names
        from crate_transformer.models import Segmenter

        self.check()
        model = self.load()
        size = self.side(model)
        pictures = Pictures(
            self.images,
            title="segment",
            check=lambda picture: self.whole(model, picture, size),
            output=self.output,
        )
        choices = self.choices(model, pictures, size)
        settings = {"command": "segment", "checkpoint": checksum(model), **choices}
        run: dict[str, Any] = {"paths": pictures.paths, "settings": settings, "overwrite": self.overwrite}
        if isinstance(model, Segmenter):
            folder = ClassFolder(self.output, **run, class_names=class_names(model))
        else:
            folder = ObjectFolder(self.output, **run)
        try:
            for path in pictures.one_by_one():
                if path not in folder.finished and (picture := pictures.read(path)):
                    folder.add(path, picture, self.masks(model, picture, choices))
        except KeyboardInterrupt as stop:
            count = f"{len(folder.finished)} of {len(pictures.paths)} images are finished and kept"
            raise KeyboardInterrupt(f"{count}: the same command continues with the others") from stop
        about = {"checkpoint": str(model.provenance).splitlines(), "choices": choices, "left_out": pictures.left_out}
        say(*folder.finish(about))
        return pictures.ending()

    def check(self) -> None:
        """Refuse values out of range before anything is loaded."""
        if not 0 < self.mass <= 1:
            raise ValueError(f"--mass is {self.mass}: it must be greater than 0 and at most 1")
        if not 1 <= self.num_masks <= 255:
            raise ValueError(f"--num-masks is {self.num_masks}: it must be between 1 and 255")
        if not 0 <= self.tau < 1:
            raise ValueError(f"--tau is {self.tau}: it must be at least 0 and below 1, such as 0.15")

    def load(self) -> "VisionModel":
        """The segmenter if its classes are wanted, else a backbone.

        Raises:
            ValueError: an option does not apply to the method, or to the classes of a segmenter.
        """
        from crate_transformer.models import Backbone

        model = self.weights.load() if self.method else self.weights.load_vision()
        changed = given(self, _OF_OBJECTS)
        if changed and not isinstance(model, Backbone):
            raise ValueError(
                f"{self.weights.checkpoint} is a segmenter, whose classes do not depend on {changed[0]}: leave it out, "
                "or segment with its backbone by --method maskcut or attention"
            )
        if ignored := given(self, _OF_MASKCUT if self.method == "attention" else _OF_ATTENTION):
            other = "maskcut" if self.method == "attention" else "attention"
            raise ValueError(f"{ignored[0]} would be ignored: it is for --method {other}")
        return model

    def side(self, model: "VisionModel") -> int:
        """The shorter side of the images for the model."""
        from crate_transformer.inspection.class_mask import evaluation_side
        from crate_transformer.models import Segmenter

        native, patch = min(model.preprocessing.img_size), min(model.patch_size)
        default = 2 * native if self.method == "attention" else min(480, 60 * patch)
        size = self.size or (evaluation_side(model) if isinstance(model, Segmenter) else default)
        if size < patch:
            raise ValueError(f"--size is {size}: it must be at least one patch, {patch} pixels")
        return size

    def choices(self, model: "VisionModel", pictures: "Pictures", size: int) -> dict[str, Any]:
        """Everything that the masks depend on, besides the model."""
        from crate_transformer.inspection.best_head import best_head
        from crate_transformer.inspection.reader import reader
        from crate_transformer.models import Segmenter

        if isinstance(model, Segmenter):
            return {"method": "classes", "size": size}
        if self.method != "attention":
            layer = -1 if self.layer is None else self.layer
            return {"method": "maskcut", "size": size, "layer": layer, "num_masks": self.num_masks, "tau": self.tau}
        source, stored = reader(model), best_head(model)
        if self.layer is None and self.head is None and stored:
            (layer,), head, why = source.choose_layers([stored.layer]), stored.head, stored.chosen
        else:
            (layer,) = source.choose_layers([-1 if self.layer is None else self.layer])
            head, why = self.choose_head(model, layer, pictures)
        (head,) = source.choose_heads([head])
        chosen = {"layer": layer, "head": head, "head_chosen": why, "mass": self.mass}
        return {"method": "attention", "size": size, **chosen}

    def choose_head(self, model: "Backbone", layer: int, pictures: "Pictures") -> tuple[int, str]:
        """The given head, or the one whose maps separate best into foreground and background (Otsu)."""
        if self.head is not None:
            return self.head, "given"
        from itertools import islice

        import torch

        from crate_transformer.data import preprocess
        from crate_transformer.inspection import foreground

        sample = islice(filter(None, map(pictures.read, pictures.paths)), _HEAD_SAMPLE)
        sample = [preprocess(picture, model.preprocessing) for picture in sample]
        seen = foreground(model, torch.stack(sample), layer=layer, fraction=self.mass)
        return seen.head, f"{seen.choice}, on the first {len(sample)} images"

    def whole(self, model: "VisionModel", picture: "Image.Image", size: int) -> "Image.Image":
        """The image at the model's input size, with no more patches than the method can handle."""
        from crate_transformer.inspection.look import MAX_PATCHES, whole_picture
        from crate_transformer.inspection.maskcut import MAX_GRAPH
        from crate_transformer.models import Segmenter

        few = self.method != "attention" and not isinstance(model, Segmenter)
        return whole_picture(model, picture, size, max_patches=MAX_GRAPH if few else MAX_PATCHES)

    def masks(self, model: "VisionModel", picture: "Image.Image", choices: dict[str, Any]) -> "np.ndarray":
        """The masks of one image at its own resolution: ``(objects, height, width)``, or the class of every pixel."""
        from crate_transformer.data import normalise, pixels
        from crate_transformer.inspection import class_mask, foreground, maskcut, upsample
        from crate_transformer.models import Segmenter

        if isinstance(model, Segmenter):
            return class_mask(model, picture, short_side=choices["size"])
        inputs = normalise(pixels(self.whole(model, picture, choices["size"])), model.preprocessing)[None]
        if choices["method"] == "maskcut":
            found = maskcut(model, inputs, num_masks=self.num_masks, tau=self.tau, layer=choices["layer"]).masks[0]
        else:
            found = foreground(model, inputs, layer=choices["layer"], head=choices["head"], fraction=self.mass).masks
        return upsample(found, (picture.height, picture.width))
