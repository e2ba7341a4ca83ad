"""The model that a run starts with, and the sizes of the pictures that it sees."""

import torch

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.configs.objective import ObjectiveConfig
from crate_transformer.models import CRATEMAE, Backbone, build_model
from crate_transformer.recipes.experiment import Experiment


def seeded_model(experiment: Experiment, classes: tuple[str, ...]) -> Backbone:
    """The model to train, with the same fresh parameters for the same seed; the head of the same classes is kept.

    Raises:
        ValueError: no such model or option; or an option that a checkpoint to start from settles itself.
    """
    objective = experiment.task
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.loop.seed)
        if experiment.start_from is None:
            model = build_model(experiment.model, **{**objective.model_options(len(classes)), **experiment.options})
            if isinstance(model, CRATEMAE) and objective.teaches_classes:
                raise ValueError(
                    f"{experiment.model} learns by filling in hidden patches, and this training teaches classes: "
                    "choose another model, the task mae, or start from a trained one"
                )
            return _checked(model, experiment.model, objective)
        settled = ", ".join(sorted(set(experiment.options) - {"global_pool"}))
        if settled:
            raise ValueError(f"start_from {experiment.start_from} settles {settled}: leave that option out")
        model = load_checkpoint(experiment.start_from)
        if not isinstance(model, Backbone):
            raise ValueError(f"start_from {experiment.start_from} is a language model: give one that takes pictures")
        if objective.teaches_classes and (model.class_names != classes or experiment.options):
            model.reset_classifier(len(classes), **experiment.options)
        elif not objective.teaches_classes and model.num_classes:
            model.reset_classifier(0, **experiment.options)
        return _checked(model, f"start_from {experiment.start_from}", objective)


def _checked(model: Backbone, name: str, objective: ObjectiveConfig) -> Backbone:
    """The model, if it has what the objective needs."""
    if objective.needs_decoder and not isinstance(model, CRATEMAE):
        raise ValueError(f"{name} has no decoder to fill in patches with: choose a crate_mae model")
    return model


def scaled_size(model: Backbone, scale: float) -> tuple[int, int]:
    """Height and width of whole patches, about ``scale`` times those of the model."""
    return tuple(
        max(1, round(scale * side / patch)) * patch
        for side, patch in zip(model.img_size, model.patch_size, strict=True)
    )


def training_size(
    step: int, *, img_size: tuple[int, int], patch_size: tuple[int, int], small_until: float, steps: int
) -> tuple[int, int]:
    """Height and width in pixels at this step: three quarters of the side until ``small_until * steps``."""
    if step >= small_until * steps:
        return img_size
    return tuple(max(1, 3 * side // patch // 4) * patch for side, patch in zip(img_size, patch_size, strict=True))
