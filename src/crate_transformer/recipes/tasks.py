"""From the settings of an objective to the task that is trained, and to its model and data."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.tasks import (
    ClassificationConfig,
    DistillationConfig,
    LanguageConfig,
    MAEConfig,
    SimDINOConfig,
    TaskConfig,
)
from crate_transformer.data import Samples, Split, open_split, open_text
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.pictures import prepare_pictures
from crate_transformer.recipes.prepared import Prepared
from crate_transformer.recipes.reconstructions import reconstructions
from crate_transformer.recipes.teachers import NamedTeacher
from crate_transformer.recipes.text import prepare_text
from crate_transformer.training.task import Task
from crate_transformer.training.tasks.classification import Classification
from crate_transformer.training.tasks.masked_autoencoding import MaskedAutoencoding
from crate_transformer.training.tasks.next_token import NextToken
from crate_transformer.training.tasks.simdino import SimDINO

_TASKS: dict[type, Callable[..., Task]] = {
    ClassificationConfig: Classification,
    DistillationConfig: NamedTeacher,
    MAEConfig: MaskedAutoencoding,
    SimDINOConfig: SimDINO,
    LanguageConfig: NextToken,
}
_TEXT: set[type] = {LanguageConfig}
"""Those that learn from text; the others learn from pictures."""
_FIGURES: dict[type, Callable[..., dict[str, bytes]]] = {MAEConfig: reconstructions}


def build_task(config: TaskConfig, model: nn.Module, augment: AugmentConfig, *, labelled: bool = True) -> Task:
    """The task that trains ``model``, on pictures changed so if it takes any, each with a class if ``labelled``."""
    about_pictures = () if type(config) in _TEXT else (augment,)
    task = _TASKS[type(config)](config, model, *about_pictures)
    task.labelled = labelled
    return task


def describe(config: TaskConfig, numbers: dict[str, object]) -> str:
    """What a run of this objective came to, in words."""
    return _TASKS[type(config)].describe(numbers)


def figures(config: TaskConfig, model: nn.Module, held_out: Samples) -> dict[str, bytes]:
    """What there is to see of a trained model, as contents of files by name; all of ``FIGURES``."""
    draw = _FIGURES.get(type(config))
    return draw(config, model, held_out) if draw else {}


def prepare(experiment: Experiment, split: Split, *, show: bool) -> Prepared:
    """The model to train, and the data as its task takes it.

    Raises:
        ValueError: they do not fit each other, or the settings do not fit them.
    """
    prepare = prepare_text if type(experiment.task) in _TEXT else prepare_pictures
    return prepare(experiment, split, show=show)


def open_data(config: TaskConfig, path: Path) -> Split:
    """What the objective learns from and is measured on; the errors are those of ``open_split`` and ``open_text``."""
    return open_text(path, config) if type(config) in _TEXT else open_split(path, labelled=config.teaches_classes)
