"""The number of floating-point operations of a training run."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crate_transformer.recipes.experiment import Experiment


def training_flops(experiment: "Experiment", samples: int) -> float | None:
    """Floating-point operations of training on ``samples`` images; a backward pass counts as two forward passes.

    ``None`` if the model does not map images to logits.
    """
    import torch

    from crate_transformer.benchmarks.flops import count_flops
    from crate_transformer.configs.segmentation import SegmentationConfig
    from crate_transformer.models import CRATEMAE, LANGUAGE_MODELS, build_model

    if experiment.model in LANGUAGE_MODELS or isinstance(experiment.task, SegmentationConfig):
        return None
    with torch.device("meta"):
        model = build_model(experiment.model, **experiment.options)
    if isinstance(model, CRATEMAE):
        return None
    return 3 * count_flops(model, model.config.in_chans, *model.img_size) * samples
