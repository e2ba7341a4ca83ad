"""CIFAR-10 on a laptop."""

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.recipes.experiment import Experiment

SETTINGS = {
    "optimiser": OptimiserConfig(optimizer="muon", learning_rate=2e-3, matrix_learning_rate=6e-3),
    "schedule": ScheduleConfig(epochs=4.0, batch_size=128, warmup_steps=100),
    "augment": AugmentConfig(min_area=0.5),
}


def cifar10() -> Experiment:
    """CRATE with patch 4 on CIFAR-10: ``crate train --recipe cifar10 --data cifar10``, measured in docs/results.md."""
    return Experiment(model="crate_micro_patch4_32", **SETTINGS)


def cifar10_vit() -> Experiment:
    """The ViT of as many parameters as ``cifar10``, with the same steps: ``--recipe cifar10_vit``."""
    return Experiment(model="vit_micro_patch4_32", **SETTINGS)
