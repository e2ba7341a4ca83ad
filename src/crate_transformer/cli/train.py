"""``crate train``."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from crate_transformer.cli.terminal import say
from crate_transformer.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Command:
    """Train a model on your own images and save it with its class names and preprocessing.

    DATA is a folder or a zip with one sub-folder per class; 'train' and 'val' (or 'test') folders are used when
    present, otherwise a tenth of every class is held out; the checkpoint remembers which pictures these were.
    """

    data: Path
    """Folder or zip of labelled images."""
    recipe: str | None = None
    """Start from the settings of this recipe (cifar10, cifar10_vit, tiny_imagenet_100, tiny_imagenet_100_128)."""
    output: Path = Path("runs/train")
    """Where checkpoint, metrics and, until the end, the resumable state go."""
    model: str = "crate_mini_patch8_64"
    """A name that 'crate models' lists."""
    start_from: str | None = None
    """Fine-tune this checkpoint (folder, file, or weights in the box) with a fresh head; it replaces --model."""
    img_size: int | None = None
    """Side of the training pictures in pixels; the model's own unless given."""
    patch_size: int | None = None
    """Side of a patch in pixels; the model's own unless given."""
    global_pool: Literal["token", "avg"] | None = None
    """Classify from the class token or from the mean of all tokens; the model's own unless given."""
    crop_pct: float = 1.0
    """Share of the side that evaluation keeps; 1 crops nothing."""
    workers: int = 0
    """Processes that read images."""
    config: TrainConfig = field(default_factory=lambda: TrainConfig(optimizer="muon"))

    def __call__(self) -> None:
        from crate_transformer.data import open_split
        from crate_transformer.recipes.experiment import Experiment, fit

        sizes = {"img_size": self.img_size, "patch_size": self.patch_size, "global_pool": self.global_pool}
        options = {key: value for key, value in sizes.items() if value is not None}
        split = open_split(self.data)
        say(
            f"{split.how}: {len(split.train)} training and {len(split.val)} held-out images, "
            f"{len(split.train.classes)} classes"
        )
        experiment = Experiment(
            model=self.model,
            options=options,
            start_from=self.start_from,
            train=self.config,
            crop_pct=self.crop_pct,
        )
        done = fit(experiment, split, self.output, data_name=str(self.data), num_workers=self.workers)
        say(f"{done.accuracy}; saved in {self.output}")


def default(arguments: Sequence[str]) -> Command | None:
    """What the options change: the settings of ``--recipe NAME``, where the arguments name one."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--recipe", nargs="?")  # tyro complains where the name is missing
    name = parser.parse_known_args(list(arguments))[0].recipe
    if name is None:
        return None
    from crate_transformer.recipes.registry import recipe

    experiment = recipe(name)
    return Command(
        data=tyro.MISSING,
        recipe=name,
        model=experiment.model,
        start_from=experiment.start_from,
        crop_pct=experiment.crop_pct,
        config=experiment.train,
        **experiment.options,
    )
