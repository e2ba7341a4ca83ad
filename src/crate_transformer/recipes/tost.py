"""ToST on ImageNet-1k (arXiv 2412.17810) with DeiT's settings, and its ViT baselines."""

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.recipe import IMAGENET_1K, Recipe, published

_RATE = 5e-4 * 1024 / 512  # DeiT's scale: the rate is for 512 images


def heavy_augmentation(model: str, drop_path_rate: float = 0.0) -> Experiment:
    """400 epochs with RandAugment, mixup, CutMix and erasing; the averaged weights are evaluated."""
    return Experiment(
        model=model,
        options={"drop_path_rate": drop_path_rate} if drop_path_rate else {},
        task=ClassificationConfig(label_smoothing=0.1),
        optimiser=OptimiserConfig(learning_rate=_RATE, betas=(0.9, 0.999), weight_decay=0.05, clip_grad_norm=0.0),
        schedule=ScheduleConfig(epochs=400.0, batch_size=1024, warmup_epochs=5.0, final_learning_rate=1e-5 / _RATE),
        loop=LoopConfig(ema_decay=0.99996),
        augment=AugmentConfig(
            min_area=0.08, randaugment=2, randaugment_magnitude=9.0, erase=0.25, mixup=0.8, cutmix=1.0
        ),
        crop_pct=224 / 256,
    )


TOP1 = {  # drop path, top-1 and top-1 against the ReaL labels in percent
    "tost_tiny": (0.0, 67.3, 72.2),
    "tost_small": (0.05, 77.9, 84.1),
    "tost_medium": (0.15, 80.3, 85.6),
    "vit_small": (0.1, 79.8, 85.6),
    "vit_base": (0.1, 81.8, 86.7),
}

_NOTES = (
    "the magnitude of RandAugment is fixed; in DeiT it varies at random",
    "drop path increases from the first block to the last",
)
_OF_VIT = (
    "the paper cites the ViTs from DeiT (arXiv 2012.12877), trained for 300 epochs; here they have ToST's steps",
)

RECIPES = {
    f"{name}_{'imagenet1k' if name.startswith('tost') else 'imagenet1k_as_tost'}": Recipe(
        experiment=heavy_augmentation(f"{name}_patch16_224", drop_path),
        data=IMAGENET_1K,
        expected=published("arXiv 2412.17810, as in the authors' book", {"top-1": top1, "ReaL top-1": real}),
        notes=_NOTES if name.startswith("tost") else (*_OF_VIT, *_NOTES),
    )
    for name, (drop_path, top1, real) in TOP1.items()
}
