"""What a run would cost, against what it costs."""

import dataclasses

import pytest

from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.data import Split
from crate_transformer.recipes import run as module
from crate_transformer.recipes.dry_run import DryRun, dry_run
from crate_transformer.recipes.experiment import Experiment

EXPERIMENT = Experiment(
    model="crate_micro_patch4_32",
    options={"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2},
    schedule=ScheduleConfig(epochs=3.0, batch_size=6, warmup_steps=0),
    loop=LoopConfig(ema_decay=0.9),
)


@pytest.fixture
def split(tiny_images):
    return Split(tiny_images(16, count=20), tiny_images(16, count=9, seed=1), "noise", divided_here=False)


def test_it_tells_what_the_run_then_takes_and_leaves_nothing(split, tmp_path, monkeypatch):
    told = dry_run(EXPERIMENT, split, tmp_path / "runs/one", execution=ExecutionConfig(accumulate=2))
    assert not list(tmp_path.iterdir())
    assert (told.steps, told.batch_size, told.samples, told.passes) == (10, 6, "images", 3.0)
    assert told.measured_steps == 8 and 0 <= told.waiting < 1 and told.memory > 1e6
    monkeypatch.setattr(module, "remove_states", lambda _folder: None)
    done = module.fit(EXPERIMENT, split, tmp_path / "run", data_name="noise", show=False)
    assert told.parameters == done.metrics["parameters"]
    written = sum(file.stat().st_size for file in tmp_path.glob("run/state-*/*"))
    assert told.state < written < told.state + 30_000  # names and settings


def test_a_run_of_one_step(split, tmp_path):
    one = dataclasses.replace(EXPERIMENT, schedule=ScheduleConfig(steps=1, batch_size=6))
    assert dry_run(one, split, tmp_path, execution=ExecutionConfig()).measured_steps == 1


def test_what_the_run_would_refuse(split, tmp_path):
    (tmp_path / "letter.txt").write_text("")
    with pytest.raises(ValueError, match=r"letter\.txt, which is not part of a run"):
        dry_run(EXPERIMENT, split, tmp_path, execution=ExecutionConfig())


def test_its_words():
    told = DryRun(
        parameters=1_969_444,
        steps=6250,
        batch_size=128,
        samples="images",
        passes=16.0,
        precision="no",
        processes=2,
        measured_steps=20,
        seconds_per_step=0.5,
        waiting=0.02,
        memory=1_752_000_000,
        state=16_300_000,
    )
    assert str(told).splitlines() == [
        "1,969,444 parameters, computed in float32",
        "6,250 steps of 128 images, 16.0 epochs",
        "0.5 s per step, 256 images/s, 2% of the time waiting for data: measured on 20 steps, processes: 2",
        "3 min 15 s per epoch, 52 min 5 s in total, without evaluations",
        "1,752 MB of memory, 16.3 MB on disk per state",
    ]
