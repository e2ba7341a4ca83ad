"""``crate segment``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from crate_transformer.cli.checkpoint import Checkpoint
from crate_transformer.cli.terminal import say

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from crate_transformer.cli.pictures import Pictures
    from crate_transformer.models import Backbone

_HEAD_SAMPLE = 32


@dataclass(frozen=True, kw_only=True)
class Command:
    """Mark the objects on pictures without any label: masks as PNG, the pictures with their masks, COCO results."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, or folders of pictures."""
    weights: Checkpoint = field(default_factory=Checkpoint)
    output: Path = Path("runs/segment")
    """Where masks/, overlays/, objects/, coco_results.json and results.json go."""
    overwrite: bool = False
    """Replace the results of another run there; without it the same command goes on where it was stopped."""
    method: Literal["maskcut", "attention"] = "maskcut"
    """Cut objects out of the graph of patches, or mark what the class token looks at."""
    size: int | None = None
    """Shorter side of the pictures for the model, in pixels; unless given 480 for maskcut (at most 60 patches) and
    twice that of the training for attention."""
    layer: int | None = None
    """Zero-based, negative ones count from the last; the last unless given (attention: that stored with weights)."""
    head: int | None = None
    """Of the attention; unless given that stored with the weights, else the one that separates best."""
    mass: float = 0.6
    """Fraction of the attention that a mask holds."""
    num_masks: int = 3
    """Objects that maskcut looks for on each picture."""
    tau: float = 0.15
    """Cosine above which maskcut takes two patches for alike."""

    def __call__(self) -> int:
        from crate_transformer.cli.mask_files import SegmentFolder
        from crate_transformer.cli.outputs import checksum
        from crate_transformer.cli.pictures import Pictures, listing

        self.check()
        model = self.weights.load()
        size = self.side(model)
        pictures = Pictures(
            self.images,
            title="segment",
            check=lambda picture: self.whole(model, picture, size),
            output=self.output,
        )
        choices = self.choices(model, pictures, size)
        settings = {"command": "segment", "checkpoint": checksum(model), **choices}
        folder = SegmentFolder(self.output, pictures.paths, settings, overwrite=self.overwrite)
        try:
            for path in pictures.one_by_one():
                if path not in folder.finished and (picture := pictures.read(path)):
                    folder.add(path, picture, self.masks(model, picture, choices))
        except KeyboardInterrupt as stop:
            count = f"{len(folder.finished)} of {len(pictures.paths)} pictures are finished and kept"
            raise KeyboardInterrupt(f"{count}: the same command does the others") from stop
        about = {"checkpoint": str(model.provenance).splitlines(), "choices": choices, "left_out": pictures.left_out}
        objects, empty = folder.finish(about)
        count = len(folder.finished)
        say(f"{objects} object{'s' * (objects != 1)} on {count} picture{'s' * (count > 1)}: {self.output}")
        if empty:
            say(f"nothing found, the mask is empty: {listing(empty)}")
        return pictures.ending()

    def check(self) -> None:
        """Refuse numbers out of range before anything is loaded."""
        if not 0 < self.mass <= 1:
            raise ValueError(f"--mass is {self.mass}: a mask holds more than 0 and at most 1 of the attention")
        if not 1 <= self.num_masks <= 255:
            raise ValueError(f"--num-masks is {self.num_masks}: ask for 1 to 255 objects")
        if not 0 <= self.tau < 1:
            raise ValueError(f"--tau is {self.tau}: it must be a cosine from 0 to below 1, such as 0.15")

    def side(self, model: "Backbone") -> int:
        """The shorter side of the pictures for the model."""
        native, patch = min(model.preprocessing.img_size), min(model.patch_size)
        size = self.size or (min(480, 60 * patch) if self.method == "maskcut" else 2 * native)
        if size < patch:
            raise ValueError(f"--size is {size}: it must be at least one patch, {patch} pixels")
        return size

    def choices(self, model: "Backbone", pictures: "Pictures", size: int) -> dict[str, object]:
        """Everything that the masks depend on, besides the model."""
        from crate_transformer.inspection.best_head import best_head
        from crate_transformer.inspection.reader import reader

        if self.method == "maskcut":
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
        """The head asked for, or the one whose maps fall most clearly into a bright and a dark part."""
        if self.head is not None:
            return self.head, "given"
        from itertools import islice

        import torch

        from crate_transformer.data import preprocess
        from crate_transformer.inspection import foreground

        sample = islice(filter(None, map(pictures.read, pictures.paths)), _HEAD_SAMPLE)
        sample = [preprocess(picture, model.preprocessing) for picture in sample]
        seen = foreground(model, torch.stack(sample), layer=layer, fraction=self.mass)
        return seen.head, f"{seen.choice}, on the first {len(sample)} pictures"

    def whole(self, model: "Backbone", picture: "Image.Image", size: int) -> "Image.Image":
        """The picture as the model sees it, of no more patches than the method can take."""
        from crate_transformer.inspection.look import MAX_PATCHES, whole_picture
        from crate_transformer.inspection.maskcut import MAX_GRAPH

        limit = MAX_GRAPH if self.method == "maskcut" else MAX_PATCHES
        return whole_picture(model, picture, size, max_patches=limit)

    def masks(self, model: "Backbone", picture: "Image.Image", choices: dict[str, object]) -> "np.ndarray":
        """The objects of one picture, ``(objects, height, width)`` in its own pixels."""
        from crate_transformer.data import normalise, pixels
        from crate_transformer.inspection import foreground, maskcut, upsample

        inputs = normalise(pixels(self.whole(model, picture, choices["size"])), model.preprocessing)[None]
        if self.method == "maskcut":
            found = maskcut(model, inputs, num_masks=self.num_masks, tau=self.tau, layer=choices["layer"]).masks[0]
        else:
            found = foreground(model, inputs, layer=choices["layer"], head=choices["head"], fraction=self.mass).masks
        return upsample(found, (picture.height, picture.width))
