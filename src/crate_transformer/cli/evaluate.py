"""``crate evaluate``."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Command:
    """Measure the accuracy of a checkpoint on labelled images: the 'val' (or 'test') part of DATA where it has one."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """A folder, a file, or the name of weights in the box."""
    data: Path
    """Folder or zip with one sub-folder per class."""
    batch_size: int = 128
    workers: int = 0
    """Processes that read images."""
    output: Path | None = None
    """Also write the numbers to this JSON file."""

    def __call__(self) -> None:
        from crate_transformer.checkpoints import load_checkpoint
        from crate_transformer.data import eval_loader, open_evaluation
        from crate_transformer.evaluation import accuracy
        from crate_transformer.reports.results import write_json

        model = load_checkpoint(self.checkpoint)
        images = open_evaluation(self.data)
        if model.class_names:
            images = images.relabel(model.class_names)
        loader = eval_loader(images, model.preprocessing, batch_size=self.batch_size, num_workers=self.workers)
        result = {"checkpoint": self.checkpoint, "data": str(self.data), **asdict(accuracy(model, loader))}
        print(json.dumps(result, indent=1))
        if self.output:
            write_json(self.output, result)
