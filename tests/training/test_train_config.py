import math

import pytest

from crate_transformer.training.config import TrainConfig


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
        ("min_area", 1.5, "min_area is 1.5: it must lie between 0 and 1"),
        ("min_area", 0.0, "min_area is 0: a crop must keep some of the picture"),
        ("label_smoothing", -0.1, "label_smoothing is -0.1"),
        ("small_until", math.nan, "small_until is nan"),
        ("weight_decay", -1.0, "weight_decay is -1.0: it must not be negative"),
        ("warmup_steps", -1, "warmup_steps is -1"),
        ("clip_grad_norm", -0.5, "clip_grad_norm is -0.5"),
        ("betas", (0.9, 1.5), r"betas are \(0.9, 1.5\): each must be at least 0 and below 1"),
        ("seed", -1, "seed is -1: it must be at least 0"),
        ("seed", 2**70, "seed is 1180591620717411303424"),
    ],
)
def test_a_wrong_value_is_named(name, value, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        TrainConfig(**{name: value})


def test_edges_are_allowed():
    TrainConfig(min_area=1.0, small_until=1.0, label_smoothing=0.0)
    TrainConfig(weight_decay=0.0, warmup_steps=0, clip_grad_norm=0.0, betas=(0.0, 0.0))


def test_steps_follow_epochs_unless_given():
    assert TrainConfig(epochs=3.0, batch_size=10).num_steps(100) == 30
    assert TrainConfig(epochs=0.5, batch_size=10).num_steps(90) == 4  # 4.5, to even
    assert TrainConfig(epochs=1.0, batch_size=128).num_steps(5) == 1
    assert TrainConfig(epochs=3.0, steps=7).num_steps(100) == 7
