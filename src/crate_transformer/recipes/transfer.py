"""Fine-tuning of CRATE and ViT on other data (arXiv 2306.01129, table 1; arXiv 2308.16271, table 3)."""

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.recipes.crate import RECIPES as PRETRAINED
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.recipe import (
    CIFAR10,
    CIFAR100,
    FLOWERS,
    IMAGENET_1K,
    PETS,
    DataSet,
    Recipe,
    published,
    result_of,
)


def transfer(model: str, start_from: str, *, batch_size: int, epochs: float) -> Experiment:
    """AdamW on all weights, RandAugment with 2 operations at magnitude 14 of 30, plain cross entropy (arXiv
    2306.01129).

    The number of epochs is that of the released script. For evaluation the script resizes images to a square without
    keeping their aspect ratio; here they are centre-cropped.
    """
    return Experiment(
        model=model,
        start_from=start_from,
        task=ClassificationConfig(label_smoothing=0.0),
        optimiser=OptimiserConfig(learning_rate=5e-5, betas=(0.9, 0.999), weight_decay=0.01, clip_grad_norm=0.0),
        schedule=ScheduleConfig(epochs=epochs, batch_size=batch_size, warmup_steps=0),
        augment=AugmentConfig(min_area=0.08, randaugment=2, randaugment_magnitude=14 / 3),
    )


DATA = (CIFAR10, CIFAR100, FLOWERS, PETS)
AFTER_IMAGENET_1K = {  # top-1 in percent on DATA
    "crate_tiny": (95.5, 78.9, 84.6, 81.4),
    "crate_small": (96.0, 81.0, 87.1, 84.9),
    "crate_base": (96.8, 82.7, 88.7, 85.3),
    "crate_large": (97.2, 83.6, 88.3, 87.4),
    "vit_tiny": (96.6, 81.8, 85.1, 88.5),
    "vit_small": (97.2, 83.2, 88.5, 88.6),
}
AFTER_IMAGENET_21K = {  # the same, then ImageNet-1k
    "crate_small_patch8": (97.2, 84.1, 92.2, 86.4, 74.2),
    "crate_base_patch8": (98.1, 87.9, 96.7, 90.7, 79.5),
    "vit_tiny_patch8": (97.2, 84.4, 92.1, 86.2, 71.8),
    "vit_base_patch8": (98.9, 90.1, 99.5, 91.8, 85.8),
}


def _recipe(
    before: str, data: DataSet, top1: float, source: str, note: str, batch_size: int = 512, epochs: float = 200.0
) -> Recipe:
    model = PRETRAINED[before].experiment.model
    return Recipe(
        experiment=transfer(model, result_of(before), batch_size=batch_size, epochs=epochs),
        data=data,
        expected=published(source, {"top-1": top1}),
        after=before,
        notes=(note,),
    )


RECIPES = {
    f"{name}_{data.folder}": _recipe(
        f"{name}_imagenet1k",
        data,
        value,
        "arXiv 2306.01129, table 1",
        "evaluation uses a centre crop; the released script resizes the image to a square",
    )
    for name, row in AFTER_IMAGENET_1K.items()
    for data, value in zip(DATA, row, strict=True)
} | {
    f"{name}_{data.folder}": _recipe(
        f"{name}_imagenet21k",
        data,
        value,
        "arXiv 2308.16271, table 3",
        "the number of epochs is our choice: the paper does not state it",
        batch_size=128 if "base" in name else 256,
        epochs=30.0 if data is IMAGENET_1K else 200.0,
    )
    for name, row in AFTER_IMAGENET_21K.items()
    for data, value in zip((*DATA, IMAGENET_1K), row, strict=True)
}
