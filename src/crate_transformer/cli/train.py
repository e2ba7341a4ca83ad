"""``crate train``."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar

import tyro

from crate_transformer.cli.terminal import say
from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.configs.tasks import TASKS

Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class Command(Generic[Options]):
    """Train a model on your own images and save it with its class names and preprocessing.

    DATA is a folder or a zip with one sub-folder per class, or tar files, or hf:owner/name; 'train' and 'val' (or
    'test') folders are used when present, otherwise a tenth of every class is held out; the checkpoint remembers which
    pictures these were. Where --task teaches no classes, any folder of pictures will do.
    """

    data: Path
    """Folder or zip of images."""
    recipe: str | None = None
    """Start from the settings of this recipe; 'crate recipes' lists them."""
    debug: bool = False
    """Try the settings for two steps of a tiny model, to see that everything fits together."""
    task: Literal[tuple(TASKS)] = "classification"
    """What the model learns; '--task NAME --help' shows the options of one."""
    output: Path = Path("runs/train")
    """Where checkpoint, metrics and, until the end, the resumable state go."""
    model: str | None = None
    """A name that 'crate models' lists; crate_mini_patch8_64, or the crate_mae of this size for mae, unless given."""
    start_from: str | None = None
    """Fine-tune this checkpoint (folder, file, or weights in the box) with a fresh head; it replaces --model."""
    img_size: int | None = None
    """Side of the training pictures in pixels; the model's own unless given."""
    patch_size: int | None = None
    """Side of a patch in pixels; the model's own unless given."""
    global_pool: Literal["token", "avg"] | None = None
    """Classify from the class token or from the mean of all tokens; the model's own unless given."""
    drop_path_rate: float | None = None
    """Stochastic depth: how often an image skips the last block, earlier ones less often; the model's own unless
    given."""
    crop_pct: float = 1.0
    """Share of the side that evaluation keeps; 1 crops nothing."""
    objective: Options
    optimiser: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(optimizer="muon"))
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)

    def __call__(self) -> None:
        from crate_transformer.data import open_split
        from crate_transformer.recipes.debug import shrink
        from crate_transformer.recipes.experiment import Experiment
        from crate_transformer.recipes.run import fit

        options = {name: getattr(self, name) for name in ("img_size", "patch_size", "global_pool", "drop_path_rate")}
        split = open_split(self.data, labelled=self.objective.teaches_classes)
        classes = f"{len(split.train.classes)} classes" if split.train.classes else "no classes"
        say(f"{split.how}: {len(split.train)} training and {len(split.val)} held-out images, {classes}")
        experiment = Experiment(
            model=self.model or self.objective.default_model,
            options={key: value for key, value in options.items() if value is not None},
            start_from=self.start_from,
            task=self.objective,
            optimiser=self.optimiser,
            schedule=self.schedule,
            loop=self.loop,
            augment=self.augment,
            crop_pct=self.crop_pct,
        )
        if self.debug:
            experiment = shrink(experiment)
        done = fit(experiment, split, self.output, data_name=str(self.data), execution=self.execution)
        say(f"{done.summary}; saved in {self.output}")


def command(arguments: Sequence[str]) -> tuple[object, Command | None]:
    """The command with the options of ``--task NAME``, and the settings of ``--recipe NAME`` where one is named."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--recipe", "--task"):
        parser.add_argument(name, nargs="?")  # tyro complains where the name is missing
    named = parser.parse_known_args(list(arguments))[0]
    if named.recipe is None:
        return Command[TASKS.get(named.task, TASKS["classification"])], None
    from crate_transformer.recipes.registry import recipe

    experiment = recipe(named.recipe)
    kind = type(experiment.task)
    task = next(name for name, config in TASKS.items() if config is kind)
    if named.task not in (None, task):
        raise ValueError(f"recipe {named.recipe} is for the task {task}, not {named.task}: leave --task out")
    return Command[kind], Command(
        data=tyro.MISSING,
        recipe=named.recipe,
        task=task,
        model=experiment.model,
        start_from=experiment.start_from,
        crop_pct=experiment.crop_pct,
        objective=experiment.task,
        optimiser=experiment.optimiser,
        schedule=experiment.schedule,
        augment=experiment.augment,
        loop=experiment.loop,
        **experiment.options,
    )
