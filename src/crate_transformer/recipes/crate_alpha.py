"""CRATE-alpha in two stages (arXiv 2405.20299): ImageNet-21k, then ImageNet-1k."""

from dataclasses import replace

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.recipe import IMAGENET_1K, IMAGENET_21K_WINTER, Recipe, published, result_of

_BATCH = 4096
_MIXED = AugmentConfig(min_area=0.08, mixup=0.8, cutmix=1.0, cutmix_fraction=0.5)


def _optimiser(learning_rate: float) -> OptimiserConfig:
    return OptimiserConfig(learning_rate=learning_rate, betas=(0.9, 0.95), weight_decay=0.1, clip_grad_norm=1.0)


def _schedule(learning_rate: float) -> ScheduleConfig:
    """91 epochs; the cosine ends at 1e-6."""
    return ScheduleConfig(epochs=91.0, batch_size=_BATCH, warmup_epochs=10.0, final_learning_rate=1e-6 / learning_rate)


def pretrain(model: str) -> Experiment:
    """91 epochs on ImageNet-21k with Adam, mixup and CutMix."""
    rate = 5e-5 * _BATCH / 256
    return Experiment(
        model=model,
        task=ClassificationConfig(label_smoothing=0.0),
        optimiser=_optimiser(rate),
        schedule=_schedule(rate),
        augment=_MIXED,
        crop_pct=224 / 256,
    )


def fine_tune(model: str, start_from: str) -> Experiment:
    """91 epochs on ImageNet-1k with a new head, and additionally RandAugment and label smoothing."""
    rate = 1e-5 * _BATCH / 256
    return Experiment(
        model=model,
        start_from=start_from,
        task=ClassificationConfig(label_smoothing=0.1),
        optimiser=_optimiser(rate),
        schedule=_schedule(rate),
        augment=replace(_MIXED, randaugment=2, randaugment_magnitude=9.0),
        crop_pct=224 / 256,
    )


TOP1 = {
    "base_patch32": 76.5,
    "base_patch16": 81.2,
    "base_patch8": 83.2,
    "large_patch32": 80.2,
    "large_patch14": 83.9,
    "large_patch8": 85.1,
}

_NOTES = ("Adam's first moment is in float32 here, in bf16 in the released configuration",)
RECIPES = {}
for _size, _top1 in TOP1.items():
    _model, _name = f"crate_alpha_{_size}_224", f"crate_alpha_{_size}"
    RECIPES[f"{_name}_imagenet21k"] = Recipe(
        experiment=pretrain(_model),
        data=IMAGENET_21K_WINTER,
        notes=("no result of its own: see the recipe that starts from it", *_NOTES),
    )
    RECIPES[f"{_name}_imagenet1k"] = Recipe(
        experiment=fine_tune(_model, result_of(f"{_name}_imagenet21k")),
        data=IMAGENET_1K,
        expected=published("README of the authors of CRATE-alpha (arXiv 2405.20299)", {"top-1": _top1}),
        after=f"{_name}_imagenet21k",
        notes=("no ViT recipe: the ViTs in the paper's figure were trained by others with other recipes", *_NOTES),
    )
