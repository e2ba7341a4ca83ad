"""``crate classify``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from crate_transformer.cli.checkpoint import Checkpoint
from crate_transformer.cli.terminal import complain, print_json, say


@dataclass(frozen=True, kw_only=True)
class Command:
    """Name what is in pictures, with the class names stored in the checkpoint."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, or folders of pictures."""
    weights: Checkpoint = field(default_factory=Checkpoint)
    top: int = 5
    """How many classes to name."""
    json: bool = False
    """Print JSON instead of tables."""

    def __call__(self) -> int:
        from crate_transformer.checkpoints import list_pretrained
        from crate_transformer.cli.pictures import Pictures
        from crate_transformer.inspection import classify
        from crate_transformer.reports import print_table

        if self.top < 1:
            raise ValueError(f"--top is {self.top}: it must be at least 1")
        model = self.weights.load()
        if not model.num_classes:
            raise ValueError(f"{self.weights.checkpoint} has no classifier: num_classes is 0")
        results, pictures = [], Pictures(self.images)
        if self.weights.checkpoint in list_pretrained():
            complain(
                f"{self.weights.checkpoint}, the bundled weights, know only their {model.num_classes} classes: "
                "anything else gets the name of one of these; --checkpoint takes other weights"
            )
        for name, picture in pictures:
            top = classify(model, picture, self.top)
            results.append({"image": name, "top": [{"class": kind, "probability": p} for kind, p in top]})
            if not self.json:
                say(name)
                print_table(("class", "probability"), [(kind, f"{p:.1%}") for kind, p in top])
        if self.json:
            print_json(results)
        return pictures.ending()
