"""A state holds tensors and JSON alone, and everything of a step that is random follows from seed and step."""

import dataclasses
import json
import math
import os
import pickle
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch
from small_problem import CONFIG, classification_with

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.mae import MAEConfig
from crate_transformer.models import CRATE, CRATEMAE, CRATEMAEConfig
from crate_transformer.training.metrics import read_metrics
from crate_transformer.training.schedule import step_seed
from crate_transformer.training.tasks.masked_autoencoding import MaskedAutoencoding


def stop_at(wanted):
    return lambda step: os.kill(os.getpid(), signal.SIGINT) if step == wanted else None


@pytest.fixture
def interrupted(run, tmp_path):
    """The state of a run that was interrupted at its third step."""
    with pytest.raises(KeyboardInterrupt, match="the same command goes on from here"):
        run(tmp_path, before=stop_at(3))
    return tmp_path / "state-00000003"


def same(ours, theirs) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


class Evil:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def test_two_files_without_a_pickle(interrupted):
    assert {path.name for path in interrupted.iterdir()} == {"state.json", "tensors.safetensors"}
    record = json.loads((interrupted / "state.json").read_text())
    assert (record["step"], record["diverged"], record["restarts"]) == (3, None, [])
    assert record["run"]["optimiser"]["learning_rate"] == 3e-3 and record["run"]["model"]["depth"] == 2


@pytest.mark.parametrize("name", ["custom_checkpoint_0.pkl", "random_states_0.pkl", "optimizer.bin"])
def test_a_pickle_beside_is_refused_unopened(run, interrupted, tmp_path, name):
    (interrupted / name).write_bytes(pickle.dumps(Evil(tmp_path / "executed")))
    with pytest.raises(ValueError, match=f"state-00000003 holds {name}, which belongs to no training state: remove it"):
        run(tmp_path)
    (interrupted / name).unlink()
    (interrupted / "tensors.safetensors").write_bytes(pickle.dumps(Evil(tmp_path / "executed")))
    with pytest.raises(ValueError, match="state-00000003 is damaged"):
        run(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_a_state_of_version_0_1_is_refused(run, tmp_path):
    old = tmp_path / "state-00000003"
    old.mkdir()
    (old / "progress.json").write_text('{"step": 3, "run": {}}')
    (old / "custom_checkpoint_0.pkl").write_bytes(pickle.dumps(Evil(tmp_path / "executed")))
    with pytest.raises(ValueError, match=r"state of version 0\.1, which is read by executing what it holds: choose"):
        run(tmp_path)
    assert not (tmp_path / "executed").exists() and len(list(old.iterdir())) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1},
        {"step": 4},
        {"step": "3"},
        {"run": []},
        {"format_version": 1},
        {"digest": "0"},
        {"diverged": 1},
        {"more": 1},
    ],
)
def test_a_record_that_a_stranger_changed(run, interrupted, tmp_path, change):
    record = json.loads((interrupted / "state.json").read_text())
    (interrupted / "state.json").write_text(json.dumps({**record, **change}))
    with pytest.raises(ValueError, match="state-00000003") as error:
        run(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["", "3", "[]", "[" * 5000, '{"step": 1', "{}", "\x00"])
def test_records_that_are_none(run, interrupted, tmp_path, content):
    (interrupted / "state.json").write_text(content)
    with pytest.raises(ValueError, match=r"state\.json") as error:
        run(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", ["3\n", "[]\n", "{}\n", '{"step": "a"}\n', '{"step": 1, "loss": []}\n', "\xff\n", "\n"]
)
def test_metrics_that_are_none(run, interrupted, tmp_path, content):
    (tmp_path / "metrics.jsonl").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"line 1 of .*metrics\.jsonl is no record of a step"):
        run(tmp_path)


def test_of_two_states_the_newer_counts_and_a_folder_that_a_killed_process_left_does_not(run, interrupted, tmp_path):
    shutil.copytree(interrupted, tmp_path / "kept")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, before=stop_at(5))
    (tmp_path / "kept").rename(interrupted)
    (tmp_path / "state-00000007" / ".unfinished").mkdir(parents=True)
    assert run(tmp_path).resumed_at == 5
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-00000008"]


class Tied(CRATE):
    """Two names for one matrix, and a layer that is never used."""

    def __init__(self):
        super().__init__(CONFIG)
        self.unused = torch.nn.Linear(3, 3)
        first, second = self.blocks
        second.mssa.subspaces.weight = first.mssa.subspaces.weight


@pytest.mark.parametrize("optimizer", ["adamw", "lion"])
def test_tied_and_unused_weights_go_on_bit_for_bit(run, tmp_path, optimizer):
    def fresh_model():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return Tied()

    run.fresh_model = fresh_model
    run(tmp_path / "whole", optimizer=optimizer)
    whole = run.weights()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", optimizer=optimizer, before=stop_at(3))
    run(tmp_path / "parts", optimizer=optimizer)
    assert same(run.weights(), whole)


def dropping():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return CRATE(dataclasses.replace(CONFIG, drop_path_rate=0.5))


def masking():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return CRATEMAE(CRATEMAEConfig(img_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2))


@pytest.mark.parametrize("kind", ["dropping", "masking"])
def test_what_is_random_in_a_step_follows_from_the_seed(run, tmp_path, kind):
    run.fresh_model, task = {
        "dropping": (dropping, None),
        "masking": (masking, lambda model: MaskedAutoencoding(MAEConfig(mask_ratio=0.5), model, AugmentConfig())),
    }[kind]
    options = {"task": task, "augment": False}
    weights = []
    for caller, seed in ((1, 0), (2, 0), (1, 3)):
        torch.manual_seed(caller)
        expected = torch.get_rng_state()
        run(tmp_path / f"{caller}-{seed}", **options, seed=seed)
        assert torch.equal(torch.get_rng_state(), expected)
        weights.append(run.weights())
    assert same(weights[0], weights[1]) and not same(weights[0], weights[2])
    for stop in (3, 6):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", **options, before=stop_at(stop))
        torch.rand(7)
    run(tmp_path / "parts", **options)
    assert same(run.weights(), weights[0])


def test_seeds_of_steps_differ():
    seeds = {step_seed(seed, step, rank) for seed in range(4) for step in range(50) for rank in range(3)}
    assert len(seeds) == 600


def test_a_run_that_diverged_goes_on_with_a_lower_learning_rate(run, tmp_path):
    failing = classification_with(lambda loss, model, step: loss * (math.inf if step == 4 else 1))
    with pytest.raises(
        ValueError,
        match=r"^the loss is inf at step 5: run it again with a lower learning rate than 0.003; "
        r"it goes on from step 4, or from 0 once .* is removed$",
    ):
        run(tmp_path, task=failing, checkpoint_every=2)
    with pytest.raises(ValueError, match=r"other settings \(learning_rate, weight_decay\)"):
        run(tmp_path, checkpoint_every=2, learning_rate=1e-3, weight_decay=0.3)
    with pytest.raises(ValueError, match="the loss is inf at step 5"):
        run(tmp_path, task=failing, checkpoint_every=2, learning_rate=2e-3)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, checkpoint_every=2, learning_rate=1e-3, before=stop_at(5))
    with pytest.raises(ValueError, match=r"other settings \(learning_rate\)"):
        run(tmp_path, checkpoint_every=2)
    result = run(tmp_path, checkpoint_every=2, learning_rate=1e-3)
    assert [(restart.step, restart.learning_rate) for restart in result.restarts] == [(5, 3e-3), (5, 2e-3)]
    rates = {record["step"]: record["learning_rate"] for record in read_metrics(tmp_path / "metrics.jsonl")}
    assert rates[4] > 1e-3 > rates[5] > rates[6]


def test_gradients_that_are_not_finite_do_not_reach_the_weights(run, tmp_path):
    def change(loss, model, step):
        return loss + (model.head.weight.sum() * 0).sqrt()  # its gradient is no number, its value is

    sentence = r"^the gradient of model\.head\.weight is not finite at step 1: run it again .* from step 0$"
    for clip_grad_norm in (0.0, 1.0):
        with pytest.raises(ValueError, match=sentence):
            run(tmp_path, task=classification_with(change), checkpoint_every=1, clip_grad_norm=clip_grad_norm)
    before = run.fresh_model().state_dict()
    assert all(torch.equal(weights, before[name]) for name, weights in run.weights().items())
    assert not list(tmp_path.glob("state-*"))


@pytest.fixture
def room(monkeypatch):
    """Makes the disk have so many bytes free."""
    return lambda free: monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))


def test_too_little_room_is_said_before_training(run, tmp_path, room):
    room(10_000)
    with pytest.raises(OSError, match=r"has room for 0 MB and this run needs 0 MB: make room or choose another output"):
        run(tmp_path, before=lambda step: pytest.fail("it was trained"))


def test_states_that_are_there_need_no_more_room(run, interrupted, tmp_path, room):
    """Two are needed at a time; the largest one may be smaller than what is asked for."""
    size = 3 * sum(tensor.nbytes for tensor in run.fresh_model().state_dict().values())
    room(size - 1)
    with pytest.raises(OSError, match="make room"):
        run(tmp_path)
    room(size * 1.2)
    assert run(tmp_path).resumed_at == 3
