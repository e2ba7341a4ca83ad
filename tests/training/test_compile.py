"""A compiled model learns what the same model learns otherwise."""

import pytest
import torch
from small_problem import classification

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.simdino import SimDINOConfig
from crate_transformer.training.metrics import read_metrics
from crate_transformer.training.tasks.simdino import SimDINO


def crops_of_two_sizes(model):
    torch.manual_seed(2)
    model.reset_classifier(0)
    return SimDINO(SimDINOConfig(hidden_dim=16, feature_dim=6, local_crops=2, local_size=4), model, AugmentConfig())


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore")  # of PyTorch's compiler itself
@pytest.mark.parametrize("task", [classification, crops_of_two_sizes])
def test_compiled_it_learns_the_same(run, tmp_path, task):
    curves = []
    for compiled in (False, True):
        folder = tmp_path / str(compiled)
        run(folder, steps=3, task=task, augment=task is classification, log_every=1, compile=compiled)
        curves.append([record["loss"] for record in read_metrics(folder / "metrics.jsonl")])
    assert len(curves[0]) == 3 and curves[1] == pytest.approx(curves[0], abs=1e-4)
