"""``crate inspect``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from crate_transformer.cli.classify import BOX


@dataclass(frozen=True, kw_only=True)
class Command:
    """Look inside a model on your own pictures: objective by layer, attention of every head, masks over the picture."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, or folders of pictures."""
    checkpoint: str = BOX
    """A folder, a file, or the name of weights in the box."""
    output: Path = Path("runs/inspect")
    """Where report.html, results.json and the PNGs go."""
    layers: tuple[int, ...] = ()
    """Zero-based layers to show; negative ones count from the last; all unless given."""
    heads: tuple[int, ...] = ()
    """Zero-based heads to show; all unless given."""
    mass: float = 0.6
    """Share of the attention that a mask holds."""
    size: int | None = None
    """Shorter side of the pictures for the maps, in pixels; twice the model's own unless given."""

    def __call__(self) -> None:
        from crate_transformer.checkpoints import load_checkpoint
        from crate_transformer.data import list_images, read_image
        from crate_transformer.recipes.look import inspect_pictures

        model = load_checkpoint(self.checkpoint)
        paths = list_images(self.images)
        pictures = {str(path): read_image(path) for path in paths}
        page = inspect_pictures(
            model,
            pictures,
            self.output,
            layers=self.layers or None,
            heads=self.heads or None,
            mass=self.mass,
            short_side=self.size or 2 * min(model.img_size),
            checkpoint=self.checkpoint,
        )
        print(f"{len(pictures)} pictures inspected: {page}")
