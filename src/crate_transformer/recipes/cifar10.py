"""CIFAR-10 on a laptop."""

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.recipe import CIFAR10, Recipe, measured


def four_passes(model: str) -> Experiment:
    """Four passes with Muon, which take minutes; CRATE and the ViT of as many parameters alike."""
    return Experiment(
        model=model,
        optimiser=OptimiserConfig(optimizer="muon", learning_rate=2e-3, matrix_learning_rate=6e-3),
        schedule=ScheduleConfig(epochs=4.0, batch_size=128, warmup_steps=100),
        augment=AugmentConfig(min_area=0.5),
    )


_MEASURED = "docs/results.md, 2 cores, 2026-11-25"

RECIPES = {
    "cifar10": Recipe(
        experiment=four_passes("crate_micro_patch4_32"),
        data=CIFAR10,
        expected=measured(_MEASURED, {"top-1": 62.5}),
        cost="289 s on 2 cores (docs/results.md)",
    ),
    "cifar10_vit": Recipe(
        experiment=four_passes("vit_micro_patch4_32"), data=CIFAR10, expected=measured(_MEASURED, {"top-1": 66.2})
    ),
}
