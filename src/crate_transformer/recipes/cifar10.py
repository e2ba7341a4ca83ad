"""CIFAR-10 on a laptop."""

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.recipe import CIFAR10, Recipe, measured


def four_passes(model: str) -> Experiment:
    """Four epochs with Muon, which take minutes; the same for CRATE and for a ViT with as many parameters."""
    return Experiment(
        model=model,
        optimiser=OptimiserConfig(optimizer="muon", learning_rate=2e-3, matrix_learning_rate=6e-3),
        schedule=ScheduleConfig(epochs=4.0, batch_size=128, warmup_steps=100),
        augment=AugmentConfig(min_area=0.5),
    )


def conv_stem(model: str) -> Experiment:
    """28 epochs with a convolutional stem, as in CCT (arXiv 2104.05704), and regularisation for a small data set:
    RandAugment, mixup and CutMix of some images, label smoothing, averaged weights."""
    return Experiment(
        model=model,
        task=ClassificationConfig(label_smoothing=0.1),
        optimiser=OptimiserConfig(optimizer="muon", learning_rate=2e-3, matrix_learning_rate=5e-3),
        schedule=ScheduleConfig(epochs=28.0, batch_size=128, warmup_steps=400),
        loop=LoopConfig(ema_decay=0.999, evaluate_every=1950),
        augment=AugmentConfig(
            min_area=0.5,
            randaugment=1,
            randaugment_magnitude=6.0,
            mixup=0.2,
            cutmix=1.0,
            mix_probability=0.3,
            cutmix_fraction=0.7,
        ),
    )


_ESTIMATE = "about 67 minutes on 2 quiet cores by --dry-run, 2026-11-27"
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
    "cifar10_conv": Recipe(
        experiment=conv_stem("crate_micro_conv_patch4_32"),
        data=CIFAR10,
        expected=measured("docs/results.md, 2 cores, 2026-11-27", {"top-1": 81.9}),
        cost="95 minutes on 2 cores, with light other load (docs/results.md)",
    ),
    "cifar10_conv_vit": Recipe(
        experiment=conv_stem("vit_micro_conv_patch4_32"),
        data=CIFAR10,
        expected=measured("docs/results.md, 2 cores, 2026-11-28", {"top-1": 84.7}),
        cost=_ESTIMATE,
    ),
}
