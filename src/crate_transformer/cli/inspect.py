"""``crate inspect``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from crate_transformer.cli.checkpoint import Checkpoint

if TYPE_CHECKING:
    from crate_transformer.models import Backbone


@dataclass(frozen=True, kw_only=True)
class Command:
    """Look inside a model on your own pictures: objective by layer, attention of every head, masks over the picture."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, or folders of pictures."""
    weights: Checkpoint = field(default_factory=Checkpoint)
    output: Path = Path("runs/inspect")
    """Where report.html, results.json, PNGs and the maps as .npz go."""
    layers: tuple[int, ...] = ()
    """Zero-based layers to show; negative ones count from the last; all unless given."""
    heads: tuple[int, ...] = ()
    """Zero-based heads to show; all unless given."""
    mass: float = 0.6
    """Share of the attention that a mask holds."""
    size: int | None = None
    """Shorter side of the pictures for the maps, in pixels; that of the model's inputs unless given."""

    def __call__(self) -> None:
        import torch

        from crate_transformer.data import preprocess, read_images
        from crate_transformer.inspection import layerwise_objective, look
        from crate_transformer.reports.inspection import inspection_page

        if not 0 < self.mass <= 1:
            raise ValueError(f"--mass is {self.mass}: a mask holds more than 0 and at most 1 of the attention")
        model = self.weights.load()
        if self.size is not None and self.size < min(model.patch_size):
            raise ValueError(f"--size is {self.size}: it must be at least one patch, {min(model.patch_size)} pixels")
        heads = self.chosen_heads(model)
        short_side = self.size or min(model.preprocessing.img_size)
        looks, inputs = [], []
        for name, picture in read_images(self.images):
            looks.append(look(model, picture, name, short_side=short_side, layers=self.layers or None))
            inputs.append(preprocess(picture, model.preprocessing))
        best = model.provenance.metadata.get("attention", {})
        if best.get("layer") in looks[0].attention.layers and best.get("head") in heads:
            mask_from, why = (best["layer"], best["head"]), best["chosen"]
        else:
            mask_from, why = (
                (max(looks[0].attention.layers), heads[0]),
                "the last layer and the first head that are shown",
            )
        page = inspection_page(
            looks,
            layerwise_objective(model, torch.stack(inputs)),
            self.output,
            heads=heads,
            mask_from=mask_from,
            mask_from_why=why,
            mass=self.mass,
            model_name=type(model).__name__,
            about=str(model.provenance),
        )
        print(f"{len(looks)} picture{'s' * (len(looks) > 1)} inspected: {page}")

    def chosen_heads(self, model: "Backbone") -> tuple[int, ...]:
        """The heads to show, checked."""
        for head in self.heads:
            if not 0 <= head < model.config.num_heads:
                raise ValueError(f"there is no head {head}: the model has heads 0 to {model.config.num_heads - 1}")
        return self.heads or tuple(range(model.config.num_heads))
