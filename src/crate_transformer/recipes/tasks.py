"""From the settings of an objective to the task that is trained."""

from collections.abc import Callable

from torch import nn

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.tasks import ClassificationConfig, MAEConfig, TaskConfig
from crate_transformer.training.task import Task
from crate_transformer.training.tasks.classification import Classification
from crate_transformer.training.tasks.masked_autoencoding import MaskedAutoencoding

_TASKS: dict[type, Callable[..., Task]] = {ClassificationConfig: Classification, MAEConfig: MaskedAutoencoding}


def build_task(config: TaskConfig, model: nn.Module, augment: AugmentConfig) -> Task:
    """The task that trains ``model`` on pictures changed so."""
    return _TASKS[type(config)](config, model, augment)
