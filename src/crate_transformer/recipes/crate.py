"""CRATE from scratch on ImageNet-1k (arXiv 2306.01129) and ImageNet-21k (arXiv 2308.16271), with ViT baselines."""

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.recipe import IMAGENET_1K, IMAGENET_21K, Recipe, published

_LION_BETAS = (0.9, 0.99)
_DECAY = "norms, biases, class token and positions are not decayed; the released code decays all parameters"


def imagenet_1k(model: str) -> Experiment:
    """150 epochs with Lion, random crops and flips only (arXiv 2306.01129, B.1.2); the same for the ViTs.

    The paper is followed where the released script differs: the script uses AdamW or Lion with other learning rates,
    and 20 epochs of warm-up.
    """
    return Experiment(
        model=model,
        task=ClassificationConfig(label_smoothing=0.1),
        optimiser=OptimiserConfig(
            optimizer="lion", learning_rate=2.4e-4, betas=_LION_BETAS, weight_decay=0.5, clip_grad_norm=0.0
        ),
        schedule=ScheduleConfig(epochs=150.0, batch_size=2048, warmup_epochs=5.0),
        augment=AugmentConfig(min_area=0.08),
        crop_pct=224 / 256,
    )


def imagenet_21k(model: str, **options: object) -> Experiment:
    """90 epochs with Lion on centre crops and flips (arXiv 2308.16271, C.1); the same for the ViTs."""
    return Experiment(
        model=model,
        options=options,
        task=ClassificationConfig(label_smoothing=0.1),
        optimiser=OptimiserConfig(
            optimizer="lion", learning_rate=9.6e-5, betas=_LION_BETAS, weight_decay=0.05, clip_grad_norm=0.0
        ),
        schedule=ScheduleConfig(epochs=90.0, batch_size=4096, warmup_epochs=5.0),
        augment=AugmentConfig(min_area=1.0),
        crop_pct=224 / 256,
    )


TABLE_1 = {  # of arXiv 2306.01129: top-1 and top-1 against the ReaL labels, in percent
    "crate_tiny": (66.7, 74.0),
    "crate_small": (69.2, 76.0),
    "crate_base": (70.8, 76.5),
    "crate_large": (71.3, 77.4),
    "vit_tiny": (71.5, 78.3),
    "vit_small": (72.4, 78.4),
}
_COST = {"crate_base": "240 s per epoch on 16 A100 with 40 GB, so 10 h (arXiv 2306.01129)"}

_ONLY_PRETRAINED = ("no result of its own: see the recipes that start from it",)
_LEFT_OPEN = "warm-up and label smoothing are those of arXiv 2306.01129; the paper does not state them"

RECIPES = {
    f"{name}_imagenet1k": Recipe(
        experiment=imagenet_1k(f"{name}_patch16_224"),
        data=IMAGENET_1K,
        expected=published("arXiv 2306.01129, table 1", {"top-1": top1, "ReaL top-1": real}),
        cost=_COST.get(name, ""),
        notes=(_DECAY,),
    )
    for name, (top1, real) in TABLE_1.items()
} | {
    f"{name}_patch8_imagenet21k": Recipe(
        experiment=experiment, data=IMAGENET_21K, notes=(*_ONLY_PRETRAINED, _LEFT_OPEN, _DECAY)
    )
    for name, experiment in {
        "crate_small": imagenet_21k("crate_small_patch8_224"),
        "crate_base": imagenet_21k("crate_base_patch8_224"),
        "vit_tiny": imagenet_21k("vit_tiny_patch16_224", patch_size=8),
        "vit_base": imagenet_21k("vit_base_patch16_224", patch_size=8),
    }.items()
}
