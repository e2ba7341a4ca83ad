"""SIGKILL at random moments of training: the same command ends with the very bits of the undisturbed run."""

import dataclasses
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "training"))
from shared_run import Job, Started, make_pictures, train_with

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.training.metrics import read_metrics

KILLS = int(os.environ.get("CRATE_KILLS", "30"))  # over all layouts
LAYOUTS = [(1, 0), (1, 2), (2, 0), (2, 2)]  # processes, workers of each
pytestmark = pytest.mark.slow

EXPERIMENT = Experiment(
    model="crate_micro_patch4_32",
    options={"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "drop_path_rate": 0.2},
    optimiser=OptimiserConfig(optimizer="muon", learning_rate=1e-3),
    schedule=ScheduleConfig(steps=30, batch_size=16, warmup_steps=5),
    loop=LoopConfig(precision="float32", ema_decay=0.9, evaluate_every=10),
    augment=AugmentConfig(mixup=0.8, cutmix=1.0),
)


def contents(folder: Path) -> dict[str, bytes]:
    """The weights, which are those of the average, and what else was written but tells of time."""
    return {
        str(file.relative_to(folder)): file.read_bytes() if file.suffix == ".safetensors" else b""
        for file in sorted(folder.rglob("*"))
    }


def numbers(folder: Path) -> list[dict[str, float]]:
    times = {"seconds", "images_per_second", "waiting_for_data"}
    return [{k: v for k, v in record.items() if k not in times} for record in read_metrics(folder / "metrics.jsonl")]


@pytest.mark.parametrize(("count", "workers"), LAYOUTS)
def test_killed_and_repeated_is_undisturbed(tmp_path, seed, count, workers):
    pictures = make_pictures(tmp_path / "pictures", 44)
    job = Job(
        experiment=EXPERIMENT,
        execution=ExecutionConfig(log_every=1, checkpoint_every=3, accumulate=2, workers=workers),
        data=pictures,
        folder=tmp_path / "undisturbed",
    )
    train_with(count, job)  # all is read once and imported
    shutil.rmtree(job.folder)
    began = time.monotonic()
    assert [one.code for one in train_with(count, job)] == [0] * count
    seconds = time.monotonic() - began
    expected, records = contents(job.folder), numbers(job.folder)
    kills = KILLS // len(LAYOUTS) + (LAYOUTS.index((count, workers)) < KILLS % len(LAYOUTS))
    random_number, killed, resumed = random.Random(f"{seed} {count} {workers}"), 0, 0
    job = dataclasses.replace(job, folder=tmp_path / "killed")
    while killed < kills:
        started, delay = Started(job, count), random_number.uniform(0, seconds)
        time.sleep(delay)
        victim = random_number.randrange(count)
        started.kill(victim)
        codes = [one.code for one in started.wait()]
        if codes == [0] * count:  # it had ended before
            shutil.rmtree(job.folder)
            continue
        killed += codes[victim] == -signal.SIGKILL
        assert all(code in (0, 2, -signal.SIGKILL) for code in codes), codes
        resumed += bool(list(job.folder.glob("state-*/state.json")))
        if random_number.random() < 0.5:  # the next kill strikes the resumed run
            continue
        assert [one.code for one in train_with(count, job)] == [0] * count
        assert contents(job.folder) == expected and numbers(job.folder) == records
        shutil.rmtree(job.folder)
    assert [one.code for one in train_with(count, job)] == [0] * count
    assert contents(job.folder) == expected and numbers(job.folder) == records
    print(f"{count} processes, {workers} workers: {killed} kills within {seconds:.1f} s, {resumed} after a state")
    assert resumed or killed < 5, "no kill came after the first state"
