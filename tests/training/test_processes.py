"""Several real processes that share a run are one process with the whole batch."""

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


BOTH = ((2, 1), (1, 2))
"""How many processes begin, and how many go on."""
OTHERS = [name for name in EXPERIMENTS if name != "classification"]


@pytest.mark.parametrize(
    ("name", "sharding", "orders"),
    [
        ("classification", "none", BOTH),
        ("classification", "fsdp", BOTH),
        *((name, "none", BOTH[:1]) for name in OTHERS),
        *(pytest.param(name, "none", BOTH[1:], marks=pytest.mark.slow) for name in OTHERS),
        *(pytest.param(name, "fsdp", BOTH, marks=pytest.mark.slow) for name in OTHERS),
    ],
)
def test_any_number_of_processes_follows_the_same_curve(data, tmp_path, name, sharding, orders):
    experiment = EXPERIMENTS[name]

    def job(folder, count, signal_at=None, **execution):
        shared = sharding if count > 1 else "none"
        execution = ExecutionConfig(log_every=1, checkpoint_every=100, sharding=shared, **execution)
        return Job(
            experiment=experiment, execution=execution, data=data(experiment.task), folder=folder, signal_at=signal_at
        )

    parts = 1 if isinstance(experiment.task, SimDINOConfig) else 2  # its coding rate is that of a whole batch
    (alone,) = train_with(1, job(tmp_path / "alone", 1))
    assert alone.code == 0, alone.text
    expected, weights = curve(tmp_path / "alone"), load_file(tmp_path / "alone/model.safetensors")
    assert len(expected) == STEPS + 3
    for first, then in orders:
        folder = tmp_path / f"{first} then {then}"
        begun = train_with(first, job(folder, first, signal_at=5, accumulate=parts))
        assert [ended.code for ended in begun] == [130] * first, begun
        resumed = train_with(then, job(folder, then, accumulate=parts, workers=then - 1))
        assert [ended.code for ended in resumed] == [0] * then, resumed

        seen = sorted(pair for ended in begun + resumed for pair in ended.positions)
        assert seen == [(position // BATCH, position) for position in range(STEPS * BATCH)]
        assert names(folder) == names(tmp_path / "alone")
        found = curve(folder)
        assert found.keys() == expected.keys()
        for key, numbers in expected.items():  # some hundred roundings in float32 of numbers near 1
            np.testing.assert_allclose(
                list(found[key].values()), list(numbers.values()), rtol=1e-5, atol=1e-5, err_msg=key
            )
        for name, tensor in load_file(folder / "model.safetensors").items():
            np.testing.assert_allclose(tensor, weights[name], rtol=0, atol=1e-5, err_msg=name)
