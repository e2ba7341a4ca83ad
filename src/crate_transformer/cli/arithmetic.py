"""The number of floating-point operations of a training run."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crate_transformer.recipes.experiment import Experiment


def training_flops(experiment: "Experiment", samples: int) -> float | None:
    """Floating-point operations of training on ``samples`` images; a backward pass counts as two forward passes.

    ``None`` if a step is not a forward and a backward pass of a classifier: other objectives, a teacher, a frozen
    backbone.
    """
    import torch

    from crate_transformer.benchmarks.flops import count_flops
    from crate_transformer.configs.classification import ClassificationConfig
    from crate_transformer.models import LANGUAGE_MODELS, build_model
    from crate_transformer.recipes.start import scaled_size, training_size

    task, schedule = experiment.task, experiment.schedule
    if experiment.model in LANGUAGE_MODELS or type(task) is not ClassificationConfig or task.freeze_backbone:
        return None
    with torch.device("meta"):
        model = build_model(experiment.model, **experiment.options)
    full = scaled_size(model, schedule.scale)
    small = training_size(0, img_size=full, patch_size=model.patch_size, small_until=schedule.small_until, steps=1)
    shares = {full: 1 - schedule.small_until, small: schedule.small_until} if small != full else {full: 1.0}
    return 3 * samples * sum(share * count_flops(model, model.in_chans, *size) for size, share in shares.items())
