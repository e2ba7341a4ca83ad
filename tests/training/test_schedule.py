import math

import pytest
import torch

from crate_transformer.training.schedule import scale_learning_rates, warmup_cosine


def test_warm_up_and_cosine():
    rates = [2 * warmup_cosine(step, warmup_steps=4, steps=10) for step in range(11)]
    cosine = [1 + math.cos(math.pi * step / 10) for step in range(11)]
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.5])
    assert rates[3] == pytest.approx(cosine[3]) and cosine[3] < 2
    assert rates[4:] == pytest.approx(cosine[4:]) and rates[10] == 0


def test_no_warm_up():
    assert warmup_cosine(0, warmup_steps=0, steps=10) == 1


def test_each_group_keeps_its_own_learning_rate_however_often_it_is_scaled():
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = torch.optim.AdamW([{"params": weights[:1], "lr": 1.0}, {"params": weights[1:], "lr": 3.0}])
    for factor in (0.5, 1.0, 0.25):
        scale_learning_rates([optimizer], factor)
        assert [group["lr"] for group in optimizer.param_groups] == [factor, 3 * factor]
