"""A small CRATE for natural photographs: the bundled model."""

from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.recipe import TINY_IMAGENET_100, Recipe, measured, result_of


def tiny_imagenet_100() -> Experiment:
    """CRATE on 100 classes of Tiny-ImageNet at 64 px, three fifths of the steps at 48 px."""
    return Experiment(
        model="crate_mini_patch8_64",
        optimiser=OptimiserConfig(optimizer="muon", learning_rate=1.5e-3, matrix_learning_rate=4e-3),
        schedule=ScheduleConfig(epochs=16.0, batch_size=128, warmup_steps=150, small_until=0.6),
    )


def tiny_imagenet_100_128(start_from: str = result_of("tiny_imagenet_100")) -> Experiment:
    """The same weights fine-tuned at 128 px, with 16 x 16 tokens: 220 steps after the first stage."""
    return Experiment(
        model="crate_mini_patch8_64",
        start_from=start_from,
        optimiser=OptimiserConfig(optimizer="muon", learning_rate=4e-4, matrix_learning_rate=1e-3),
        schedule=ScheduleConfig(steps=220, batch_size=64, warmup_steps=20, scale=2.0),
        loop=LoopConfig(seed=7),
    )


RECIPES = {
    "tiny_imagenet_100": Recipe(
        experiment=tiny_imagenet_100(),
        data=TINY_IMAGENET_100,
        expected=measured("docs/results.md, 2 cores, 2026-11-23", {"top-1": 41.8}),
        cost="90 minutes on 2 cores, with other load (docs/results.md)",
    ),
    "tiny_imagenet_100_128": Recipe(
        experiment=tiny_imagenet_100_128(),
        data=TINY_IMAGENET_100,
        expected=measured("docs/results.md, 2 cores, 2026-11-23, at 128 px", {"top-1": 44.7}),
        cost="6 minutes on 2 cores, with other load (docs/results.md)",
        after="tiny_imagenet_100",
    ),
}
