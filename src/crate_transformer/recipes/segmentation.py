"""Semantic segmentation with a DEPICT decoder (arXiv 2411.03033), on generated digits."""

from typing import Literal

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.configs.segmentation import SegmentationConfig
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.recipe import DataSet, Recipe, measured

MASKED_DIGITS = DataSet(name="generated digits", classes=2, samples=10_000, folder="digits")
_SOURCE = (
    "docs/results.md: 500 test images, float32, seed 0, one busy core, 2026-11-28; without looking at the image 41.3"
)


def digits_segmentation(attention: Literal["self", "cross"]) -> Experiment:
    """A small CRATE and a decoder of two layers at 16 px; the classes are digit and background."""
    return Experiment(
        model="crate_nano_patch4_16",
        task=SegmentationConfig(attention=attention, decoder_depth=2),
        optimiser=OptimiserConfig(optimizer="muon", learning_rate=2e-3, matrix_learning_rate=8e-3),
        schedule=ScheduleConfig(steps=600, batch_size=32, warmup_steps=20),
        augment=AugmentConfig(min_area=1.0, flip=False),
    )


_RUNS: tuple[tuple[str, Literal["self", "cross"], float], ...] = (
    ("digits_segmentation", "self", 64.4),
    ("digits_segmentation_cross", "cross", 63.5),
)
RECIPES = {
    name: Recipe(
        experiment=digits_segmentation(attention),
        data=MASKED_DIGITS,
        expected=measured(_SOURCE, {"mIoU": miou}),
        cost="16 seconds of CPU time on one core, measured",
        notes=("docs/how-to/train-segmentation.md makes the images",),
    )
    for name, attention, miou in _RUNS
}
