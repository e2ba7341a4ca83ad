"""CIFAR-10 on a laptop."""

from crate_transformer.recipes.experiment import Experiment
from crate_transformer.training.config import TrainConfig

TRAIN = TrainConfig(
    epochs=4.0,
    batch_size=128,
    optimizer="muon",
    learning_rate=2e-3,
    matrix_learning_rate=6e-3,
    warmup_steps=100,
    label_smoothing=0.1,
    min_area=0.5,
)


def cifar10() -> Experiment:
    """CRATE with patch 4 on CIFAR-10: ``crate train --recipe cifar10 --data cifar10``, measured in docs/results.md."""
    return Experiment(model="crate_micro_patch4_32", train=TRAIN)


def cifar10_vit() -> Experiment:
    """The ViT of as many parameters as ``cifar10``, with the same steps: ``--recipe cifar10_vit``."""
    return Experiment(model="vit_micro_patch4_32", train=TRAIN)
