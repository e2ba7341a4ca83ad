import math
from typing import get_args

import pytest

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.configs.tasks import TASKS, TaskName

CONFIGS = (OptimiserConfig, ScheduleConfig, LoopConfig, ExecutionConfig, AugmentConfig, ClassificationConfig)


def config(name, value):
    (kind,) = (kind for kind in CONFIGS if name in kind.__dataclass_fields__)
    return kind(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("epochs", 0.0, "epochs is 0.0: it must be greater than 0"),
        ("epochs", math.inf, "epochs is inf"),
        ("steps", -1, "steps is -1: it must be greater than 0"),
        ("batch_size", 0, "batch_size is 0"),
        ("learning_rate", 0.0, "learning_rate is 0.0"),
        ("learning_rate", math.nan, "learning_rate is nan"),
        ("matrix_learning_rate", -1.0, "matrix_learning_rate is -1.0"),
        ("checkpoint_every", 0, "checkpoint_every is 0"),
        ("min_area", 1.5, "min_area is 1.5 and max_area 1.0: min_area must be greater than 0 and at most max_area"),
        ("samples", -3, "samples is -3: it must be greater than 0"),
        ("warmup_epochs", -0.5, "warmup_epochs is -0.5: it must not be negative"),
        ("final_learning_rate", 2.0, "final_learning_rate is 2.0: it must be between 0 and 1"),
        ("layer_decay", 0.0, "layer_decay is 0.0: it must be greater than 0 and at most 1"),
        ("ema_decay", 1.0, "ema_decay is 1.0: it must be greater than 0 and less than 1"),
        ("patience", 3, "patience is 3 without evaluate_every: give both"),
        ("accumulate", 0, "accumulate is 0: it must be greater than 0"),
        ("workers", -1, "workers is -1: it must be at least 0"),
        ("label_smoothing", -0.1, "label_smoothing is -0.1"),
        ("small_until", math.nan, "small_until is nan"),
        ("weight_decay", -1.0, "weight_decay is -1.0: it must not be negative"),
        ("warmup_steps", -1, "warmup_steps is -1"),
        ("clip_grad_norm", -0.5, "clip_grad_norm is -0.5"),
        ("betas", (0.9, 1.5), r"betas are \(0.9, 1.5\): each must be at least 0 and less than 1"),
        ("seed", -1, "seed is -1: it must be at least 0"),
        ("seed", 2**70, "seed is 1180591620717411303424"),
    ],
)
def test_a_wrong_value_is_named(name, value, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        config(name, value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("optimizer", "auto", "adamw, lion, muon"),
        ("precision", "fp64", "auto, float32, bf16, fp16"),
        ("sharding", "ddp", "none, fsdp"),
    ],
)
def test_a_word_that_nothing_stands_for_is_refused(name, value, known):
    with pytest.raises(ValueError, match=f"^{name} is '{value}': choose one of {known}$"):
        config(name, value)


def test_every_task_has_a_name():
    assert get_args(TaskName) == tuple(TASKS)


def test_edges_are_allowed():
    AugmentConfig(min_area=1.0)
    ClassificationConfig(label_smoothing=0.0)
    ScheduleConfig(small_until=1.0, warmup_steps=0, final_learning_rate=1.0)
    OptimiserConfig(weight_decay=0.0, clip_grad_norm=0.0, betas=(0.0, 0.0))


def steps_of(num_images, **given):
    config = ScheduleConfig(**given).fitted(num_images)
    return config.batch_size, config.steps, config.warmup_steps


def test_one_length_and_one_warm_up():
    with pytest.raises(ValueError, match=r"^steps is 5 and samples is 9: give one of them$"):
        ScheduleConfig(steps=5, samples=9)
    with pytest.raises(ValueError, match=r"^warmup_steps is 5 and warmup_epochs is 0\.5: give one of them$"):
        ScheduleConfig(warmup_steps=5, warmup_epochs=0.5)


def test_steps_follow_epochs_unless_given():
    assert steps_of(100, epochs=3.0, batch_size=10) == (10, 30, 3)
    assert steps_of(90, epochs=0.5, batch_size=10) == (10, 4, 0)  # 4.5, to even
    assert steps_of(5, epochs=1.0, batch_size=128) == (128, 1, 0)
    assert steps_of(100, epochs=3.0, steps=7) == (8, 7, 0)
    assert steps_of(100, samples=70, batch_size=10) == (10, 7, 0)
    assert steps_of(100, epochs=3.0, batch_size=10, warmup_epochs=0.5) == (10, 30, 5)


@pytest.mark.parametrize(
    ("num_images", "fitted"),
    [
        (1, (1, 300, 30)),
        (4, (2, 300, 30)),
        (15, (4, 300, 30)),  # not 7, which neither mixup nor two processes could divide
        (27, (8, 300, 30)),
        (90, (8, 338, 33)),
        (150, (8, 562, 56)),  # not 9
        (900, (56, 482, 48)),
        (50_000, (128, 11_719, 300)),
    ],
)
def test_what_is_not_given_fits_the_data(num_images, fitted):
    assert steps_of(num_images) == fitted


def test_what_is_given_stays():
    given = {"steps": 5, "batch_size": 128, "warmup_steps": 100}
    config = ScheduleConfig(**given).fitted(48)
    assert {name: getattr(config, name) for name in given} == given
    assert config == config.fitted(7)
