"""``crate classify``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from crate_transformer.cli.checkpoint import Checkpoint
from crate_transformer.cli.terminal import complain, print_json, say


@dataclass(frozen=True, kw_only=True)
class Command:
    """Predict the classes of images, with the class names stored in the checkpoint."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Images, or folders of images."""
    weights: Checkpoint = field(default_factory=Checkpoint)
    top: int = 5
    """Number of classes to print for each image."""
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
                f"the bundled weights {self.weights.checkpoint} always predict one of their {model.num_classes} "
                "classes, even if none fits the image; use --checkpoint for other weights"
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
