"""How much arithmetic a training takes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crate_transformer.recipes.experiment import Experiment


def training_flops(experiment: "Experiment", samples: int) -> float | None:
    """Floating-point operations of a training that sees so many pictures, a backward pass counted as two forward ones.

    ``None`` where a forward pass is not one of pictures to logits, and where a checkpoint to start from decides it.
    """
    import torch

    from crate_transformer.benchmarks.flops import count_flops
    from crate_transformer.models import CRATEMAE, LANGUAGE_MODELS, build_model

    if experiment.model in LANGUAGE_MODELS:
        return None
    with torch.device("meta"):
        model = build_model(experiment.model, **experiment.options)
    if isinstance(model, CRATEMAE):
        return None
    return 3 * count_flops(model, model.config.in_chans, *model.img_size) * samples
