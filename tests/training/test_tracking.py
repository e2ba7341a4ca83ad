"""The numbers in TensorBoard and Weights & Biases, which are not installed here: their modules are stood in for."""

import sys
from types import ModuleType

import pytest
import torch

from crate_transformer.training.metrics import read_metrics


@pytest.fixture
def tensorboard(monkeypatch):
    """What a writer of TensorBoard was told."""
    told = []

    class SummaryWriter:
        def __init__(self, folder, **options):
            told.append(("open", str(folder), options))

        def add_scalar(self, name, value, global_step):
            told.append((name, value, global_step))

        def add_text(self, name, text, global_step):
            told.append((name, text, global_step))

        def flush(self):
            pass

        def close(self):
            told.append("closed")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(torch.utils, "tensorboard", module, raising=False)
    return told


def test_tensorboard_gets_every_record_and_forgets_what_is_repeated(run, tmp_path, tensorboard):
    run(tmp_path, steps=4, log_every=2, tracker="tensorboard")
    opened, settings, *told, closed = tensorboard
    assert opened == ("open", str(tmp_path / "tensorboard"), {"purge_step": 1}) and closed == "closed"
    assert settings[0] == "settings" and '"learning_rate": 0.003' in settings[1]
    records = read_metrics(tmp_path / "metrics.jsonl")
    expected = [(name, value, record["step"]) for record in records for name, value in record.items() if name != "step"]
    assert told == expected and {step for _, _, step in told} == {2, 4}
    tensorboard.clear()
    run(tmp_path, steps=4, log_every=2, tracker="tensorboard")
    assert tensorboard[0][2] == {"purge_step": 5}


def test_wandb_is_given_settings_and_records(run, tmp_path, monkeypatch):
    told = []

    class Run:
        def log(self, values, step):
            told.append((step, values["loss"]))

        def finish(self):
            told.append("finished")

    module = ModuleType("wandb")
    module.init = lambda **options: told.append(options) or Run()
    monkeypatch.setitem(sys.modules, "wandb", module)
    run(tmp_path, steps=4, log_every=2, tracker="wandb")
    options, *steps, finished = told
    assert options["dir"] == tmp_path and options["config"]["schedule"]["steps"] == 4 and finished == "finished"
    assert steps == [(record["step"], record["loss"]) for record in read_metrics(tmp_path / "metrics.jsonl")]


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed(run, tmp_path, monkeypatch, name):
    for module in ("torch.utils.tensorboard", "tensorboardX", "wandb"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"tracker is {name}, which is not installed: pip install 'crate-transformer"):
        run(tmp_path, steps=2, tracker=name)


def test_a_tracker_that_does_not_start(run, tmp_path, monkeypatch):
    def refuse(**_options):
        raise RuntimeError("no API key")

    module = ModuleType("wandb")
    module.init = refuse
    monkeypatch.setitem(sys.modules, "wandb", module)
    with pytest.raises(ValueError, match="wandb did not start: no API key; WANDB_MODE=offline"):
        run(tmp_path, steps=2, tracker="wandb")
