"""The floating-point operations that a run is said to cost."""

import pytest

from crate_transformer.cli.arithmetic import training_flops
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.configs.simdino import SimDINOConfig
from crate_transformer.recipes.experiment import Experiment

MODEL = "crate_micro_patch4_32"


def flops(options=None, **schedule):
    experiment = Experiment(model=MODEL, options=options or {}, schedule=ScheduleConfig(**schedule))
    return training_flops(experiment, 10)


def test_larger_images_and_phases_of_small_ones_count():
    once = flops()
    assert flops(scale=2.0) == flops({"img_size": 64}) > 3 * once
    assert flops(small_until=0.5) == pytest.approx(once / 2 + flops({"img_size": 24}) / 2, rel=0.01)


@pytest.mark.parametrize("task", [SimDINOConfig(), ClassificationConfig(freeze_backbone=True)])
def test_nothing_is_said_of_other_objectives(task):
    assert training_flops(Experiment(model=MODEL, task=task), 10) is None
