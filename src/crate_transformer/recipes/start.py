"""The initial model of a run, and its image sizes."""

import dataclasses
from typing import Any

import torch

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.configs.objective import ObjectiveConfig
from crate_transformer.data.classes import same_names
from crate_transformer.models import CRATEMAE, Backbone, backbone_of, build_model
from crate_transformer.recipes.experiment import Experiment

MAY_CHANGE = {"global_pool", "img_size", "patch_size", "drop_path_rate"}
"""Options that may be changed for a model to start from."""


def seeded_model(experiment: Experiment, classes: tuple[str, ...]) -> Backbone:
    """The model to train; the same seed gives the same new parameters, and the head is kept if the classes are the
    same.

    Raises:
        ValueError: there is no such model or option; or the option is determined by the checkpoint to start from.
    """
    objective = experiment.task
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.loop.seed)
        if experiment.start_from is None:
            model = build_model(experiment.model, **{**objective.model_options(len(classes)), **experiment.options})
            if isinstance(model, CRATEMAE) and objective.teaches_classes:
                raise ValueError(
                    f"{experiment.model} is a masked autoencoder, but this task trains on classes: "
                    "choose another model, the task mae, or start from a trained one"
                )
            return _checked(model, experiment.model, objective)
        if settled := sorted(set(experiment.options) - MAY_CHANGE):
            raise ValueError(
                f"start_from {experiment.start_from} determines {', '.join(settled)}: leave that option out"
            )
        model = backbone_of(load_checkpoint(experiment.start_from), f"start_from {experiment.start_from}")
        change_model(model, classes if objective.teaches_classes else (), experiment.options)
        return _checked(model, f"start_from {experiment.start_from}", objective)


def change_model(model: Backbone, classes: tuple[str, ...], options: dict[str, Any]) -> None:
    """Change a trained model to these classes and options; the head is kept if the classes are the same.

    Raises:
        ValueError: the model cannot have such an image or patch size.
    """
    pool = options.get("global_pool", model.config.global_pool)
    same = model.num_classes == len(classes) and same_names(model.class_names or (), classes)
    if not same or pool != model.config.global_pool:
        model.reset_classifier(len(classes), pool)
    if "img_size" in options or "patch_size" in options:
        model.set_input_size(options.get("img_size"), options.get("patch_size"))
    if "drop_path_rate" in options:
        model.config = dataclasses.replace(model.config, drop_path_rate=options["drop_path_rate"])


def _checked(model: Backbone, name: str, objective: ObjectiveConfig) -> Backbone:
    """The model, if it fulfils the requirements of the objective."""
    if objective.needs_decoder and not isinstance(model, CRATEMAE):
        raise ValueError(f"{name} has no decoder for masked patches: choose a crate_mae model")
    return model


def scaled_size(model: Backbone, scale: float) -> tuple[int, int]:
    """Height and width, multiples of the patch size, about ``scale`` times those of the model."""
    (height, width), (rows, columns) = model.img_size, model.patch_size
    return max(1, round(scale * height / rows)) * rows, max(1, round(scale * width / columns)) * columns


def training_size(
    step: int, *, img_size: tuple[int, int], patch_size: tuple[int, int], small_until: float, steps: int
) -> tuple[int, int]:
    """Height and width in pixels at this step: three quarters of the size until ``small_until * steps``."""
    if step >= small_until * steps:
        return img_size
    (height, width), (rows, columns) = img_size, patch_size
    return max(1, 3 * height // rows // 4) * rows, max(1, 3 * width // columns // 4) * columns
