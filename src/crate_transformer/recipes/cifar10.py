"""CIFAR-10 on a laptop."""

from crate_transformer.recipes.experiment import Experiment
from crate_transformer.training.config import TrainConfig

TRAIN = TrainConfig(epochs=10, batch_size=128, optimizer="muon", warmup_steps=100)


def cifar10() -> Experiment:
    """CRATE with patch 4 on CIFAR-10.

    ``crate train --recipe cifar10 --data cifar10``
    """
    return Experiment(model="crate_micro_patch4_32", train=TRAIN)


def cifar10_vit() -> Experiment:
    """The ViT of as many parameters as ``cifar10``, trained with the same steps."""
    return Experiment(model="vit_micro_patch4_32", train=TRAIN)
