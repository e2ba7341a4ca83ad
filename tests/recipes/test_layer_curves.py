"""R^c and sparsity of every layer while training."""

import dataclasses

import pytest
import torch

from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.data import Split, eval_loader
from crate_transformer.inspection import layerwise_objective
from crate_transformer.models import CRATE, CRATEConfig
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.layer_curves import LayerCurves
from crate_transformer.recipes.run import fit
from crate_transformer.training.metrics import read_metrics

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}


def test_they_are_those_of_the_inspection(tiny_images):
    held_out = tiny_images(16, count=30)
    model = CRATE(CRATEConfig(num_classes=3, **TINY)).train()
    found = LayerCurves(held_out, model)(model)
    assert model.training
    expected = layerwise_objective(model, eval_loader(held_out, model.preprocessing, batch_size=30))
    for layer in range(2):
        for quantity in ("subspace_rate", "nonzero"):
            value = expected.mean(quantity)[layer]
            assert found.pop(f"layer_{layer:02d}_{quantity}") == pytest.approx(value, rel=1e-5)
    assert not found


def test_many_pictures_are_sampled_from_the_whole_set(tiny_images):
    held_out = tiny_images(8, count=200)
    model = CRATE(CRATEConfig(num_classes=3, **{**TINY, "img_size": 8}))
    images = LayerCurves(held_out, model).images
    every = torch.cat([batch for batch, _ in eval_loader(held_out, model.preprocessing, batch_size=50)])
    assert len(images) == 64 and torch.equal(images[[0, -1]], every[[0, -1]])


def test_they_are_recorded_at_every_evaluation_and_change_nothing(tiny_images, tmp_path):
    split = Split(tiny_images(16), tiny_images(16, count=9, seed=1), "noise", divided_here=False)
    schedule = ScheduleConfig(steps=4, batch_size=6, warmup_steps=0)
    experiment = Experiment(model="crate_micro_patch4_32", options=TINY, schedule=schedule)
    experiment = dataclasses.replace(experiment, loop=dataclasses.replace(experiment.loop, evaluate_every=2))
    done = {
        layerwise: fit(
            experiment,
            split,
            tmp_path / str(layerwise),
            data_name="noise",
            execution=ExecutionConfig(layerwise=layerwise),
            show=False,
        )
        for layerwise in (True, False)
    }
    steps = [record["step"] for record in read_metrics(tmp_path / "True/metrics.jsonl") if "layer_01_nonzero" in record]
    assert steps == [2, 4]
    weights, others = (done[layerwise].model.state_dict() for layerwise in (True, False))
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())


def test_a_compiled_model_cannot_be_looked_into():
    with pytest.raises(ValueError, match="layerwise cannot measure a compiled model"):
        ExecutionConfig(layerwise=True, compile=True)
