"""``crate train``."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import tyro

from crate_transformer.cli.terminal import say
from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.language import LanguageConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ALTERNATIVES, ScheduleConfig
from crate_transformer.configs.segmentation import SegmentationConfig
from crate_transformer.configs.tasks import TASKS, TaskConfig, TaskName

if TYPE_CHECKING:
    from crate_transformer.data import Split
    from crate_transformer.recipes.experiment import Experiment

Options = TypeVar("Options", bound=TaskConfig)


@dataclass(frozen=True, kw_only=True)
class Run(Generic[Options]):
    """Options of every training run."""

    data: Path
    recipe: str | None = None
    """Use the settings of this recipe; 'crate recipes' lists all recipes."""
    debug: bool = False
    """Test the settings with two steps of a tiny model."""
    dry_run: bool = False
    """Train a few steps, print the time, memory and disk space of the whole run, and save nothing."""
    task: TaskName = "classification"
    """The training objective; '--task NAME --help' shows its options."""
    output: Path = Path("runs/train")
    """Folder for the checkpoint, the metrics and, until the run ends, the resumable state."""
    overwrite: bool = False
    """Replace a run with other settings in this folder."""
    model: str | None = None
    """A model listed by 'crate models'; default: a small one that suits the task."""
    start_from: str | None = None
    """Fine-tune this checkpoint (folder, file, or bundled weights) with a new head; replaces --model."""
    objective: Options
    optimiser: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(optimizer="muon"))
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)

    def __call__(self) -> None:
        from crate_transformer.recipes.debug import shrink
        from crate_transformer.recipes.experiment import Experiment
        from crate_transformer.recipes.report import report_run
        from crate_transformer.recipes.run import fit
        from crate_transformer.recipes.tasks import open_data

        experiment = Experiment(
            model=self.model or self.objective.default_model,
            start_from=self.start_from,
            task=self.objective,
            optimiser=self.optimiser,
            schedule=self.schedule,
            loop=self.loop,
            **self.about_data(),
        )
        if self.debug:
            experiment = shrink(experiment)
        split = open_data(experiment.task, self.data)
        say(f"{split.how}: {self.found(split)}")
        if self.dry_run:
            self.measure(experiment, split)
            return
        done = fit(
            experiment, split, self.output, data_name=str(self.data), execution=self.execution, overwrite=self.overwrite
        )
        report_run(done)
        say(f"{done.summary}; saved in {self.output}")

    def measure(self, experiment: "Experiment", split: "Split") -> None:
        """Print what the run would cost."""
        from crate_transformer.cli.arithmetic import training_flops
        from crate_transformer.recipes.dry_run import dry_run

        found = dry_run(experiment, split, self.output, execution=self.execution)
        say(*str(found).splitlines())
        if not self.start_from and (flops := training_flops(experiment, found.steps * found.batch_size)):
            say(f"{flops:.1e} floating-point operations in total")

    def found(self, split: "Split") -> str:
        """A summary of the training and held-out data."""
        raise NotImplementedError

    def about_data(self) -> dict[str, Any]:
        """Settings of the experiment that are specific to this kind of data."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Command(Run[Options], Generic[Options]):
    """Train a model on your own images (or on text with '--task language') and save it with class names and
    preprocessing.

    DATA is a folder or a zip with one sub-folder per class, or tar files, or hf:owner/name. 'train' and 'val' (or
    'test') folders are used if present; otherwise a tenth of each class is held out, and the checkpoint stores the list
    of held-out images. Tasks without classes accept any folder of images.
    """

    data: Path
    """Folder or zip of images."""
    img_size: int | None = None
    """Training image size in pixels; default: the model's."""
    patch_size: int | None = None
    """Patch size in pixels; default: the model's."""
    stem: Literal["patch", "conv"] | None = None
    """Tokens from a linear patch embedding (patch) or from convolutions with pooling (conv; CRATE and ViT); default:
    the model's."""
    global_pool: Literal["token", "avg"] | None = None
    """Pooling before the classifier: the class token (token) or the mean of all tokens (avg); default: the model's."""
    drop_path_rate: float | None = None
    """Stochastic depth: probability of skipping the last block; it decreases towards the first block; default: the
    model's."""
    crop_pct: float = 1.0
    """Crop fraction in evaluation: the side of the centre crop relative to the shorter side of the image."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def found(self, split: "Split") -> str:
        classes = f"{len(split.train.classes)} classes" if split.train.classes else "no classes"
        return f"{len(split.train)} training and {len(split.val)} held-out images, {classes}"

    def about_data(self) -> dict[str, Any]:
        options = {
            name: getattr(self, name) for name in ("img_size", "patch_size", "stem", "global_pool", "drop_path_rate")
        }
        options = {key: value for key, value in options.items() if value is not None}
        return {"options": options, "augment": self.augment, "crop_pct": self.crop_pct}


@dataclass(frozen=True, kw_only=True)
class MaskCommand(Command[Options], Generic[Options]):
    """Train a model on your own images with masks; 'crate segment' then gives each pixel of an image a class.

    DATA is a folder with images/ and masks/ (PNG, the class of each pixel) with the same names, Pascal VOC, or COCO.
    'train' and 'val' (or 'test') folders of this kind are used if present; otherwise a tenth of the images is held out,
    and the checkpoint stores the list of held-out images.
    """

    data: Path
    """Folder of images with masks."""


@dataclass(frozen=True, kw_only=True)
class TextCommand(Run[Options], Generic[Options]):
    """Train a language model on your own text; 'crate generate' continues a text with it.

    DATA is a text file, a folder of .txt files, or token ids: .npy, .safetensors, or nanoGPT's .bin. The end of the
    text is held out, or the file 'val' beside 'train' in a folder; the checkpoint stores what was held out. In each
    epoch the text is divided into as many equal parts as there are windows, and each part gives one random window.
    """

    data: Path
    """Text file, folder of text files, or token ids."""
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(optimizer="muon", betas=(0.9, 0.95), weight_decay=0.1)
    )

    def found(self, split: "Split") -> str:
        return f"{split.train.num_tokens:,} training and {split.val.num_tokens:,} held-out tokens"


def command_of(objective: type[TaskConfig]) -> Any:
    """The command for the kind of data that the objective needs, still generic."""
    return {LanguageConfig: TextCommand, SegmentationConfig: MaskCommand}.get(objective, Command)


def command(arguments: Sequence[str]) -> tuple[object, Run | None]:
    """The command with the options of ``--task NAME``, and the settings of ``--recipe NAME`` if given."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--recipe", "--task"):
        parser.add_argument(name, nargs="?")  # tyro reports a missing name
    named = parser.parse_known_args(list(arguments))[0]
    if named.recipe is None:
        kind = TASKS.get(named.task, TASKS["classification"])
        return command_of(kind)[kind], None
    from crate_transformer.recipes.registry import recipe

    experiment = recipe(named.recipe)
    kind = type(experiment.task)
    task = next(name for name, config in TASKS.items() if config is kind)
    if named.task not in (None, task):
        raise ValueError(f"recipe {named.recipe} is for the task {task}, not {named.task}: leave --task out")
    settings = {name: getattr(experiment, name) for name in ("model", "start_from", "optimiser", "schedule", "loop")}
    given = {argument.partition("=")[0].removeprefix("--").replace("-", "_") for argument in arguments}
    for names in ALTERNATIVES:  # what is given replaces what the recipe says in another unit
        if given.intersection(names):
            settings["schedule"] = replace(settings["schedule"], **dict.fromkeys(names))
    if kind is not LanguageConfig:
        settings |= {"augment": experiment.augment, "crop_pct": experiment.crop_pct, **experiment.options}
    command = command_of(kind)
    return command[kind], command(
        data=tyro.MISSING, recipe=named.recipe, task=task, objective=experiment.task, **settings
    )
