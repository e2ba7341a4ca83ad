"""From the configuration of an objective to its task, model and data."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.tasks import (
    ClassificationConfig,
    DistillationConfig,
    LanguageConfig,
    MAEConfig,
    SegmentationConfig,
    SimDINOConfig,
    TaskConfig,
)
from crate_transformer.data import Samples, Split, open_masked, open_split, open_text
from crate_transformer.recipes.experiment import FittedExperiment
from crate_transformer.recipes.masks import prepare_masks
from crate_transformer.recipes.pictures import prepare_pictures
from crate_transformer.recipes.prepared import Prepared
from crate_transformer.recipes.reconstructions import reconstructions
from crate_transformer.recipes.teachers import NamedTeacher
from crate_transformer.recipes.text import prepare_text
from crate_transformer.training.task import Task
from crate_transformer.training.tasks.classification import Classification
from crate_transformer.training.tasks.masked_autoencoding import MaskedAutoencoding
from crate_transformer.training.tasks.next_token import NextToken
from crate_transformer.training.tasks.segmentation import Segmentation
from crate_transformer.training.tasks.simdino import SimDINO

_TASKS: dict[type, type[Task]] = {
    ClassificationConfig: Classification,
    DistillationConfig: NamedTeacher,
    MAEConfig: MaskedAutoencoding,
    SegmentationConfig: Segmentation,
    SimDINOConfig: SimDINO,
    LanguageConfig: NextToken,
}
_TEXT: set[type] = {LanguageConfig}
"""Objectives that learn from text; the others learn from images."""
_PREPARE: dict[type, Callable[..., Prepared]] = {LanguageConfig: prepare_text, SegmentationConfig: prepare_masks}
"""How model and data are prepared, if not by ``prepare_pictures``."""
_FIGURES: dict[type, Callable[..., dict[str, bytes]]] = {MAEConfig: reconstructions}


def build_task(config: TaskConfig, model: nn.Module, augment: AugmentConfig, *, labelled: bool = True) -> Task:
    """The task that trains ``model``, with this augmentation for images; ``labelled``: each image has a class."""
    about_pictures = () if type(config) in _TEXT else (augment,)
    task = _TASKS[type(config)](config, model, *about_pictures)
    task.labelled = labelled
    return task


def describe(config: TaskConfig, numbers: dict[str, object]) -> str:
    """A description of the results of a run with this objective."""
    return _TASKS[type(config)].describe(numbers)


def figures(config: TaskConfig, model: nn.Module, held_out: Samples) -> dict[str, bytes]:
    """Figures of a trained model, as file name -> content; all names are in ``FIGURES``."""
    draw = _FIGURES.get(type(config))
    return draw(config, model, held_out) if draw else {}


def prepare(experiment: FittedExperiment, split: Split, *, show: bool) -> Prepared:
    """The model to train, and the data for its task.

    Raises:
        ValueError: model, data and settings do not match.
    """
    prepare = _PREPARE.get(type(experiment.task), prepare_pictures)
    return prepare(experiment, split, show=show)


def open_data(config: TaskConfig, path: Path) -> Split:
    """The data of the objective; raises the same errors as ``open_split``, ``open_masked`` and ``open_text``."""
    if isinstance(config, SegmentationConfig):
        return open_masked(path)
    if isinstance(config, LanguageConfig):
        return open_text(path, config)
    return open_split(path, labelled=config.teaches_classes)
