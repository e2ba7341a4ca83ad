"""``crate inspect``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from crate_transformer.cli.checkpoint import Checkpoint
from crate_transformer.cli.terminal import say

if TYPE_CHECKING:
    from crate_transformer.cli.pictures import Pictures
    from crate_transformer.inspection import LayerwiseObjective
    from crate_transformer.models import Backbone


@dataclass(frozen=True, kw_only=True)
class Command:
    """Look inside a model on your own images: the objective by layer, attention of every head, masks, features."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Images, or folders of images."""
    weights: Checkpoint = field(default_factory=Checkpoint)
    output: Path = Path("runs/inspect")
    """Folder for report.html, results.json, the figures as PNG and the maps as .npz."""
    overwrite: bool = False
    """Replace the results of another run in this folder."""
    layers: tuple[int, ...] = ()
    """Zero-based layers to show; negative ones count from the end; default: all."""
    heads: tuple[int, ...] = ()
    """Zero-based heads to show; default: all."""
    mass: float = 0.6
    """Fraction of the attention mass that a mask contains."""
    size: int | None = None
    """Shorter side of the images for the maps, in pixels; default: the model's input size."""
    shown: int = 8
    """Number of images, from the first, in the interactive part of the page."""
    beside: str | None = None
    """Another checkpoint to show side by side on the same images in the interactive part."""
    bits: Literal[8, 16] = 8
    """Precision of the numbers in the page; 16 doubles its size, and attention is then exact to five digits."""
    effects: Literal["auto", "always", "never"] = "auto"
    """Switch off each head in turn and show how the predictions change (two forward passes per head); auto: only if the
    model has at most 64 heads."""
    compare: tuple[str, ...] = ()
    """Other checkpoints, such as earlier ones of the same training, whose layer-wise curves to add to the figures."""

    def __call__(self) -> int:
        from crate_transformer.cli.outputs import SETTINGS, check_output, checksum
        from crate_transformer.cli.pictures import Pictures
        from crate_transformer.explorer.page import explorer_page
        from crate_transformer.inspection import look_inside
        from crate_transformer.inspection.look import whole_picture
        from crate_transformer.reports.inspection import WRITES, inspection_report, write_inspection
        from crate_transformer.storage import json_bytes

        if self.shown < 1:
            raise ValueError(f"--shown is {self.shown}: it must be at least 1")
        if not 0 < self.mass <= 1:
            raise ValueError(f"--mass is {self.mass}: it must be greater than 0 and at most 1")
        model = self.weights.load()
        if self.size is not None and self.size < min(model.patch_size):
            raise ValueError(f"--size is {self.size}: it must be at least one patch, {min(model.patch_size)} pixels")
        size = self.size or min(model.preprocessing.img_size)
        heads = self.chosen_heads(model)
        mask_from, why = self.mask_place(model, heads)
        others = self.others()
        if self.beside == self.weights.checkpoint:
            raise ValueError(f"--beside {self.beside} is the inspected checkpoint itself: choose another one")
        beside = {self.beside: Checkpoint(checkpoint=self.beside).load()} if self.beside is not None else {}
        pictures = Pictures(
            self.images, title="inspect", check=lambda picture: whole_picture(model, picture, size), output=self.output
        )
        settings = {
            "command": "inspect",
            "checkpoint": checksum(model),
            "compare": {name: checksum(other) for name, other in others.items()},
            "layers": self.layers,
            "heads": heads,
            "mass": self.mass,
            "size": size,
            "shown": self.shown,
            "beside": {name: checksum(each) for name, each in beside.items()},
            "bits": self.bits,
            "effects": self.effects,
            "pictures": [str(path) for path in pictures.paths],
        }
        check_output(self.output, settings, overwrite=self.overwrite, writes=WRITES)
        inside = look_inside(
            model,
            pictures,
            short_side=size,
            layers=self.layers or None,
            heads_layer=mask_from[0] if mask_from else -1,
        )
        about = str(model.provenance)
        report = inspection_report(
            inside,
            heads=heads,
            mask_from=mask_from,
            mask_from_why=why,
            mass=self.mass,
            model_name=self.weights.checkpoint if others else type(model).__name__,
            about=about,
            compared={name: self.curves(other, pictures) for name, other in others.items()},
            left_out=pictures.left_out,
        )
        page = explorer_page(
            self.collected({self.weights.checkpoint: model, **beside}, pictures, size),
            sections=report.sections,
            lead=report.lead,
        )
        files = {**report.files, "report.html": page, SETTINGS: json_bytes(settings)}
        place, count = write_inspection(self.output, files), len(inside.looks)
        say(f"{count} image{'s' * (count > 1)} inspected: {place}")
        return pictures.ending()

    def collected(self, models: dict[str, "Backbone"], pictures: "Pictures", size: int) -> dict[str, object]:
        """The data of the interactive part, for the first images."""
        from itertools import islice

        from crate_transformer.explorer.collect import collect, has_few_heads, num_steps, picture_names
        from crate_transformer.explorer.explorer import package_reference
        from crate_transformer.explorer.tokens import expected_bytes
        from crate_transformer.progress import ProgressLine

        paths, images = zip(*islice(pictures, self.shown), strict=True)
        shown = list(zip(picture_names(paths), images, strict=True))
        expected = sum(expected_bytes(each, images, size, self.bits) for each in models.values())
        say(f"the page will be about {expected / 1e6:.1f} MB in size")
        references = {
            name: package_reference(each)
            for name, each in models.items()
            if self.effects == "always" or (self.effects == "auto" and has_few_heads(each))
        }
        with ProgressLine("looking at heads and layers", num_steps(models, len(shown))) as line:
            return collect(models, shown, title="Inside the model", short_side=size, bits=self.bits,
                           references=references, progress=line.update)  # fmt: skip

    def mask_place(self, model: "Backbone", heads: tuple[int, ...]) -> tuple[tuple[int, int] | None, str]:
        """Layer and head of the mask, and the reason; ``None`` if the model has no attention and none was given."""
        from crate_transformer.inspection.best_head import best_head
        from crate_transformer.inspection.look import missing_attention
        from crate_transformer.inspection.reader import reader

        if why := missing_attention(model):
            if self.layers or self.heads:
                raise ValueError(f"{why}: leave out --layers and --heads")
            return None, ""
        layers = reader(model).choose_layers(self.layers or None)
        best = best_head(model)
        if best and best.layer in layers and best.head in heads:
            return (best.layer, best.head), best.chosen
        return (max(layers), heads[0]), "the last layer and the first head shown"

    def others(self) -> dict[str, "Backbone"]:
        """The checkpoints to compare with, by the names given."""
        from crate_transformer.reports.style import COLOURS

        named = (self.weights.checkpoint, *self.compare)
        if len(set(named)) < len(named) or len(named) > len(COLOURS):
            raise ValueError(f"--compare takes at most {len(COLOURS) - 1} checkpoints, all different")
        return {name: Checkpoint(checkpoint=name).load() for name in self.compare}

    def curves(self, model: "Backbone", pictures: "Pictures") -> "LayerwiseObjective":
        """The objective by layer of another model on the same images."""
        import torch

        from crate_transformer.data import preprocess
        from crate_transformer.inspection import layerwise_objective

        inputs = [preprocess(picture, model.preprocessing) for _, picture in pictures]
        return layerwise_objective(model, torch.stack(inputs))

    def chosen_heads(self, model: "Backbone") -> tuple[int, ...]:
        """The heads to show, checked."""
        for head in self.heads:
            if not 0 <= head < model.config.num_heads:
                raise ValueError(f"there is no head {head}: the model has heads 0 to {model.config.num_heads - 1}")
        return self.heads or tuple(range(model.config.num_heads))
