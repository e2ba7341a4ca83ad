"""Several real processes that share a run are one process with the whole batch."""

import functools

import numpy as np
import pytest
from safetensors.torch import load_file
from shared_run import Job, make_pictures, train_with

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.language import LanguageConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.mae import MAEConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.configs.simdino import SimDINOConfig
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.training.metrics import read_metrics

STEPS, BATCH, PICTURES = 11, 8, 22  # four passes, whose ends lie within batches
SMALL = {
    "img_size": 16,
    "patch_size": 4,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "drop_path_rate": 0.3,
    "drop_rate": 0.2,
}
COMMON = {
    "options": SMALL,
    "optimiser": OptimiserConfig(learning_rate=1e-3, optimizer="adamw", clip_grad_norm=0.5),
    "schedule": ScheduleConfig(steps=STEPS, batch_size=BATCH, warmup_steps=2),
    "loop": LoopConfig(precision="float32", ema_decay=0.9, evaluate_every=4),
}
EXPERIMENTS = {
    "classification": Experiment(model="crate_micro_patch4_32", augment=AugmentConfig(mixup=0.8, cutmix=1.0), **COMMON),
    "mae": Experiment(model="crate_mae_tiny_patch16_224", task=MAEConfig(), **COMMON),
    "simdino": Experiment(
        model="crate_micro_patch4_32",
        task=SimDINOConfig(hidden_dim=16, feature_dim=8, local_crops=2),
        **COMMON,
    ),
    "language": Experiment(
        model="tost_lm_micro",
        task=LanguageConfig(context_length=8),
        **COMMON | {"options": {name: SMALL[name] for name in ("embed_dim", "depth", "num_heads")}},
    ),
}
"""Every task; ToST's stem is left out, because its BatchNorm takes its statistics from a process's own part."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pictures, and a text of as many windows."""
    folder = tmp_path_factory.mktemp("data")
    make_pictures(folder / "pictures", PICTURES)
    (folder / "text.txt").write_bytes((b"what is divided among processes " * 20)[: 8 * PICTURES + 20])
    return lambda task: folder / ("text.txt" if isinstance(task, LanguageConfig) else "pictures")


def curve(folder):
    """Every number of the log that does not tell of time."""
    times = {"seconds", "images_per_second", "windows_per_second", "waiting_for_data"}
    records = [
        {name: value for name, value in record.items() if name not in times}
        for record in read_metrics(folder / "metrics.jsonl")
    ]
    return {(record.pop("step"), min(record)): record for record in records}


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


OTHERS = [name for name in EXPERIMENTS if name != "classification"]


@pytest.fixture(scope="module")
def job(data):
    def make(name, folder, sharding="none", signal_at=None, **execution):
        execution = ExecutionConfig(log_every=1, checkpoint_every=100, sharding=sharding, **execution)
        experiment = EXPERIMENTS[name]
        return Job(
            experiment=experiment, execution=execution, data=data(experiment.task), folder=folder, signal_at=signal_at
        )

    return make


@pytest.fixture(scope="module")
def alone(job, tmp_path_factory):
    """The folder of the run in one process."""

    @functools.cache
    def run(name):
        folder = tmp_path_factory.mktemp(name) / "run"
        (ended,) = train_with(1, job(name, folder))
        assert ended.code == 0, ended.text
        return folder

    return run


@pytest.mark.parametrize(
    ("name", "sharding", "counts"),
    [
        ("classification", "none", (1, 2, 1)),
        ("classification", "fsdp", (1, 2, 1)),
        *((name, "none", (2, 1)) for name in OTHERS),
        *(pytest.param(name, "none", (1, 2), marks=pytest.mark.slow) for name in OTHERS),
        *(pytest.param(name, "fsdp", (1, 2, 1), marks=pytest.mark.slow) for name in OTHERS),
    ],
)
def test_any_number_of_processes_follows_the_same_curve(job, alone, tmp_path, name, sharding, counts):
    """Each of the counts goes on where the one before was interrupted."""
    expected, weights = curve(alone(name)), load_file(alone(name) / "model.safetensors")
    assert len(expected) == STEPS + 3
    accumulate = 1 if name == "simdino" else 2  # its coding rate is that of a whole batch
    seen = []
    for part, count in enumerate(counts, start=1):
        last = part == len(counts)
        settings = {
            "sharding": sharding if count > 1 else "none",
            "workers": count - 1 if part > 1 else 0,
            "accumulate": accumulate,
            "signal_at": None if last else STEPS * part // len(counts),
        }
        ended = train_with(count, job(name, tmp_path / "run", **settings))
        assert [one.code for one in ended] == [0 if last else 130] * count, ended
        seen += [pair for one in ended for pair in one.positions]

    assert sorted(seen) == [(position // BATCH, position) for position in range(STEPS * BATCH)]
    assert names(tmp_path / "run") == names(alone(name))
    found = curve(tmp_path / "run")
    assert found.keys() == expected.keys()
    for key, numbers in expected.items():  # some hundred roundings in float32 of numbers near 1
        np.testing.assert_allclose(list(found[key].values()), list(numbers.values()), rtol=1e-5, atol=1e-5, err_msg=key)
    for key, tensor in load_file(tmp_path / "run/model.safetensors").items():
        np.testing.assert_allclose(tensor, weights[key], rtol=0, atol=1e-5, err_msg=key)
