"""Weights, their average and the optimisers divided between two processes (FSDP2, on the CPU with gloo)."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from shared_run import Job, make_pictures, train_with
from torch.distributed.tensor import DTensor

from crate_transformer.checkpoints import save_checkpoint
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.distillation import DistillationConfig
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.models import build_model
from crate_transformer.recipes import run
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.training.metrics import read_metrics
from crate_transformer.training.trainer import Trainer

SMALL = {"img_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2}


class WatchedTrainer(Trainer):
    """Prints how many numbers this process holds of how many, and what is not divided."""

    def run(self, batches):
        result = super().run(batches)
        tensors = {f"weight {name}": tensor for name, tensor in self.task.named_parameters()}
        tensors |= {f"average {name}": tensor for name, tensor in self.average.module.named_parameters()}
        for number, optimizer in enumerate(self.stepper.optimizers):
            for index, values in optimizer.state_dict()["state"].items():
                tensors |= {f"optimiser {number} {index} {name}": value for name, value in values.items()}
        tensors = {name: tensor for name, tensor in tensors.items() if tensor.numel() > 1}  # an optimiser counts steps
        found = {
            "own": sum(whose(tensor).numel() for tensor in tensors.values()),
            "all": sum(tensor.numel() for tensor in tensors.values()),
            "whole": [name for name, tensor in tensors.items() if not isinstance(tensor, DTensor)],
        }
        print("found " + json.dumps(found))
        return result


def whose(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class WatchedJob(Job):
    def __call__(self, rank: int) -> None:
        run.Trainer = WatchedTrainer
        super().__call__(rank)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("data") / "pictures")


@pytest.fixture
def losses(pictures, tmp_path):
    """The losses of a run, and what its processes printed."""

    def train(count, sharding, precision="float32", task=ClassificationConfig(), **optimiser):  # noqa: B008 -- frozen
        experiment = Experiment(
            model="crate_micro_patch4_32",
            options=SMALL,
            task=task,
            optimiser=OptimiserConfig(**optimiser),
            schedule=ScheduleConfig(steps=6, batch_size=8, warmup_steps=2),
            loop=LoopConfig(precision=precision, ema_decay=0.9),
        )
        folder = tmp_path / f"{count} {sharding}"
        execution = ExecutionConfig(log_every=1, sharding=sharding)
        ended = train_with(count, WatchedJob(experiment=experiment, execution=execution, data=pictures, folder=folder))
        assert [one.code for one in ended] == [0] * count, ended
        found = [json.loads(line.removeprefix("found ")) for one in ended for line in one.said.splitlines()[-1:]]
        return [record["loss"] for record in read_metrics(folder / "metrics.jsonl") if "loss" in record], found

    return train


@pytest.mark.parametrize("optimizer", ["muon", "lion"])
def test_each_process_holds_half_and_learns_the_same(losses, optimizer):
    alone, (found,) = losses(1, "none", optimizer=optimizer, learning_rate=1e-3)
    assert found["own"] == found["all"] and len(found["whole"]) > 50
    divided, parts = losses(2, "fsdp", optimizer=optimizer, learning_rate=1e-3)
    assert [part["all"] for part in parts] == [found["all"]] * 2
    assert sum(part["own"] for part in parts) == found["all"]
    assert all(part["own"] < 0.6 * found["all"] and not part["whole"] for part in parts)
    np.testing.assert_allclose(divided, alone, rtol=0, atol=1e-5)  # some hundred roundings of numbers near 1


def test_distillation_from_a_teacher_that_every_process_has_as_a_whole(losses, tmp_path):
    teacher = build_model("crate_micro_patch4_32", num_classes=2, **SMALL)
    teacher.class_names = ("b", "a")
    save_checkpoint(teacher, tmp_path / "teacher")
    task = DistillationConfig(teacher=str(tmp_path / "teacher"), label_weight=0.1)
    alone, (found,) = losses(1, "none", task=task, optimizer="adamw", learning_rate=1e-3)
    divided, parts = losses(2, "fsdp", task=task, optimizer="adamw", learning_rate=1e-3)
    assert all(part["all"] == found["all"] and part["own"] < 0.6 * found["all"] for part in parts)
    np.testing.assert_allclose(divided, alone, rtol=0, atol=1e-5)


def test_bf16_products(losses):
    """In other groups of pictures they round differently, by 2^-9 of numbers near 1 each."""
    alone, _ = losses(1, "none", "bf16", optimizer="adamw", learning_rate=1e-3)
    divided, _ = losses(2, "fsdp", "bf16", optimizer="adamw", learning_rate=1e-3)
    np.testing.assert_allclose(divided, alone, rtol=0, atol=2e-2)


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_divergence_is_told_alike_by_all(pictures, tmp_path, sharding):
    experiment = Experiment(
        model="crate_micro_patch4_32",
        options=SMALL,
        optimiser=OptimiserConfig(optimizer="adamw", learning_rate=1e30),
        schedule=ScheduleConfig(steps=6, batch_size=8, warmup_steps=2),
        loop=LoopConfig(precision="float32"),
    )
    execution = ExecutionConfig(log_every=1, sharding=sharding)
    job = Job(experiment=experiment, execution=execution, data=pictures, folder=tmp_path / "run")
    ended = train_with(2, job)
    assert [one.code for one in ended] == [2, 2], ended
    assert ended[0].said == ended[1].said and "run it again with a lower learning rate than 1e+30" in ended[0].said
    if sharding == "fsdp":
        loop = dataclasses.replace(experiment.loop, precision="fp16")
        fp16 = dataclasses.replace(job, experiment=dataclasses.replace(experiment, loop=loop))
        assert all("fp16, which needs a GPU" in one.said for one in train_with(2, fp16))
