"""The model in the box."""

from crate_transformer.recipes.experiment import Experiment
from crate_transformer.training.config import TrainConfig


def tiny_imagenet_100() -> Experiment:
    """CRATE on 100 classes of Tiny-ImageNet at 64 px.

    ``crate train --recipe tiny_imagenet_100 --data tiny_imagenet_100``
    """
    return Experiment(
        model="crate_mini_patch8_64",
        train=TrainConfig(
            epochs=16,
            batch_size=128,
            optimizer="muon",
            learning_rate=1.5e-3,
            matrix_learning_rate=4e-3,
            warmup_steps=150,
            small_until=0.6,
        ),
    )
