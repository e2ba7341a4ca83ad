"""Runs that are repeated, resumed, changed, or end badly."""

import dataclasses
import io
import os
import pickle
import shutil
import signal
from typing import ClassVar

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.configs.simdino import SimDINOConfig
from crate_transformer.data import ImageFolder, Split, eval_loader, train_loader
from crate_transformer.evaluation import accuracy
from crate_transformer.models import build_model
from crate_transformer.recipes import ready, tasks
from crate_transformer.recipes import run as module
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.run import describe_data, fit
from crate_transformer.recipes.start import seeded_model, training_size
from crate_transformer.training.tasks.classification import Classification

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
EXPERIMENT = Experiment(
    model="crate_micro_patch4_32",
    options=TINY,
    optimiser=OptimiserConfig(learning_rate=0.00123456789),
    schedule=ScheduleConfig(steps=4, batch_size=6, warmup_steps=0),
)


def changed(experiment, **changes):
    """The experiment with these fields of its parts changed."""
    for part in ("optimiser", "schedule", "loop"):
        config = getattr(experiment, part)
        own = {name: changes.pop(name) for name in list(changes) if hasattr(config, name)}
        experiment = dataclasses.replace(experiment, **{part: dataclasses.replace(config, **own)})
    assert not changes
    return experiment


@pytest.fixture
def go(tiny_images, tmp_path):
    def go(experiment=EXPERIMENT, folder="run", data_name="noise", count=12, seeds=(0, 1), show=False, **changes):
        experiment = changed(experiment, **changes)
        split = Split(
            tiny_images(16, count=count, seed=seeds[0]), tiny_images(16, count=9, seed=seeds[1]), "noise", False
        )
        execution = ExecutionConfig(checkpoint_every=2)
        return fit(experiment, split, tmp_path / folder, data_name=data_name, execution=execution, show=show)

    return go


@pytest.fixture
def losses(monkeypatch):
    """The sizes of the pictures of every step that was trained; interrupts where ``stop_at`` says."""

    class Watched(Classification):
        shapes: ClassVar[list] = []
        stop_at = None

        def forward(self, batch, progress):
            self.shapes.append(tuple(batch["images"].shape[-2:]))
            if len(self.shapes) == Watched.stop_at:
                os.kill(os.getpid(), signal.SIGINT)
            return super().forward(batch, progress)

    monkeypatch.setitem(tasks._TASKS, ClassificationConfig, Watched)
    return Watched


def same(model, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_what_is_reported_is_what_the_saved_checkpoint_does(go, tiny_images, tmp_path):
    for precision in ("float32", "bf16"):
        done = go(precision=precision, folder=precision)
        again = load_checkpoint(tmp_path / precision)
        held_out = tiny_images(16, count=9, seed=1)
        score = accuracy(again, eval_loader(held_out, again.preprocessing, batch_size=4))
        assert (score.top1, score.top5) == (done.metrics["top1"], done.metrics["top5"])
        assert again.preprocessing.crop_pct == 1 and again.class_names == ("a", "b", "c")
        saved = again.provenance.metadata
        assert saved["experiment"]["schedule"]["steps"] == 4
        assert saved["metrics"]["steps"] == 4 and "split" not in saved


def test_the_same_seed_gives_the_same_model(go):
    assert same(go(folder="one").model, go(folder="two").model)
    assert not same(go(folder="one").model, go(folder="three", seed=1).model)


def test_what_an_objective_adds_to_the_model_has_the_same_seed(go):
    simdino = SimDINOConfig(hidden_dim=8, feature_dim=4, local_crops=1, momentum=0.9)
    found = []
    for caller in (1, 2):
        torch.manual_seed(caller)
        found.append(go(dataclasses.replace(EXPERIMENT, task=simdino), folder=str(caller)).model)
    assert same(*found)


def test_the_seed_of_the_caller_is_left_alone(go):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    seeded_model(EXPERIMENT, tuple("abcdefgh"[:3]))
    assert torch.equal(torch.rand(1), expected)


def test_a_finished_run_is_loaded_and_not_repeated(go, losses, capsys, tmp_path):
    first = go()
    assert len(losses.shapes) == 4
    assert capsys.readouterr().out == ""
    again = go(show=True)
    assert capsys.readouterr().out == f"already finished: loaded from {tmp_path}/run\n"
    assert len(losses.shapes) == 4
    assert same(first.model, again.model)
    assert again.metrics["top1"] == pytest.approx(first.metrics["top1"], rel=1e-5)
    assert again.earlier_seconds == again.metrics["seconds"] > 0 == first.earlier_seconds


def test_a_finished_run_is_not_overwritten_after_any_change(go, losses, tmp_path):
    go()
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    deeper = dataclasses.replace(EXPERIMENT, options={**TINY, "depth": 3})
    for change, named in (
        ({"seed": 1, "steps": 5}, "seed, steps"),
        ({"count": 15}, "data_hash, images"),
        ({"seeds": (2, 1)}, "data_hash"),
        ({"seeds": (0, 2)}, "data_hash"),
        ({"experiment": deeper}, "depth"),
        ({"experiment": dataclasses.replace(EXPERIMENT, crop_pct=0.5)}, "crop_pct"),
    ):
        with pytest.raises(ValueError) as error:
            go(**change)
        assert str(error.value) == (
            f"{tmp_path}/run contains a finished run with other settings ({named}): "
            "repeat its settings to load it, choose another output folder, or replace it with --overwrite"
        )
    assert len(losses.shapes) == 4
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def hash_of(train, val):
    return describe_data(Split(train, val, "here", divided_here=False))["data_hash"]


def test_the_hash_of_data_changes_with_names_sizes_labels_and_order(tiny_images, tmp_path):
    for name, size in (("cat/1.png", 1), ("cat/2.png", 2), ("cat/3.png", 2), ("cat/4.png", 3), ("dog/1.png", 1)):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(bytes(size))
    folder = ImageFolder(tmp_path / "pets", ["cat/1.png", "dog/1.png"], [0, 1], ("cat", "dog"))
    held_out = ImageFolder(tmp_path / "pets", ["cat/2.png"], [0], ("cat", "dog"))
    arrays = tiny_images(16)
    relabelled = dataclasses.replace(arrays, labels=arrays.labels.flip(0))
    hashes = [
        hash_of(folder, held_out),
        hash_of(held_out, folder),
        hash_of(folder.subset([1, 0]), held_out),
        hash_of(folder, dataclasses.replace(held_out, names=["cat/3.png"])),
        hash_of(folder, dataclasses.replace(held_out, names=["cat/4.png"])),
        hash_of(folder, dataclasses.replace(held_out, labels=[1])),
        hash_of(arrays, arrays),
        hash_of(arrays, relabelled),
    ]
    assert len(set(hashes)) == len(hashes) and {len(value) for value in hashes} == {16}
    shutil.copytree(tmp_path / "pets", tmp_path / "moved")
    moved = dataclasses.replace(folder, root=tmp_path / "moved")
    assert hash_of(folder, held_out) == hash_of(moved, held_out)


def test_records_are_utf8_whatever_the_machine_prefers(go, monkeypatch):
    monkeypatch.setattr(io, "text_encoding", lambda encoding, _level=2: encoding or "ascii")
    assert same(go(data_name="größe").model, go(data_name="größe").model)


def test_workers_may_be_spawned(go, monkeypatch):
    loaders = []

    def watched(*arguments, **options):
        loaders.append(train_loader(*arguments, **options))
        return loaders[-1]

    monkeypatch.setattr(ready, "train_loader", watched)
    go(small_until=0.5)
    pickle.dumps(loaders[0].dataset)
    assert [size for size, _, _ in loaders[0].sampler] == [(12, 12), (12, 12), (16, 16), (16, 16)]


def test_an_interrupted_run_goes_on(go, losses, tmp_path):
    whole = go(folder="whole")
    losses.shapes.clear()
    losses.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        go()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    resumed = go()
    assert len(losses.shapes) == 4
    assert same(resumed.model, whole.model)
    assert resumed.metrics["resumed_at"] == 3
    assert 0 < resumed.earlier_seconds < resumed.metrics["seconds"]
    assert not list((tmp_path / "run").glob("*state*"))


def test_an_interrupted_run_goes_on_with_the_same_data_by_another_name_only(go, losses):
    losses.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        go()
    with pytest.raises(ValueError, match=r"unfinished run with other settings \(data_hash\)"):
        go(seeds=(2, 1))
    assert go(data_name="./noise").metrics["resumed_at"] == 3
    assert go().metrics["resumed_at"] == 3


def test_training_is_not_lost_when_the_checkpoint_cannot_be_written(go, losses, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "save_checkpoint", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        go()
    monkeypatch.setattr(module, "save_checkpoint", save_checkpoint)
    done = go()
    assert len(losses.shapes) == 4
    assert done.metrics["steps"] == done.metrics["resumed_at"] == 4
    assert same(done.model, go(folder="whole").model)
    assert not list((tmp_path / "run").glob("state-*"))


def test_the_first_part_of_a_run_may_see_smaller_pictures(go, losses):
    go(small_until=0.5)
    assert losses.shapes == [(12, 12), (12, 12), (16, 16), (16, 16)]


@pytest.mark.parametrize(
    ("img_size", "patch_size", "small"),
    [(16, 4, (12, 12)), ((16, 32), (4, 8), (12, 24)), (64, 16, (48, 48)), (8, 8, (8, 8))],
)
def test_smaller_pictures_are_whole_patches(img_size, patch_size, small):
    options = {**TINY, "img_size": img_size, "patch_size": patch_size}
    model = seeded_model(dataclasses.replace(EXPERIMENT, options=options), tuple("abcdefgh"[:3]))
    sides = {"img_size": model.img_size, "patch_size": model.patch_size, "steps": 10}
    assert training_size(5, **sides, small_until=0.6) == small
    assert training_size(6, **sides, small_until=0.6) == model.img_size
    assert training_size(0, **sides, small_until=0.0) == model.img_size


def test_fine_tuning_starts_from_a_checkpoint_with_a_fresh_head(go, tmp_path):
    parent = go()
    child = dataclasses.replace(EXPERIMENT, options={}, start_from=str(tmp_path / "run"))
    start = seeded_model(child, tuple("abcdefgh"[:5]))
    assert start.num_classes == 5 and start.head.weight.shape == (5, 16) and start.class_names is None
    before, after = parent.model.state_dict(), start.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("head."))
    pooled = dataclasses.replace(child, options={"global_pool": "avg"})
    assert seeded_model(pooled, tuple("abcdefgh"[:5])).config.global_pool == "avg"
    tuned = go(child, folder="tuned")
    assert not same(tuned.model, parent.model)
    assert tuned.model.config.depth == 2
    with pytest.raises(ValueError, match=r"start_from .* determines embed_dim: leave that option out"):
        seeded_model(
            dataclasses.replace(child, options={"img_size": 32, "embed_dim": 16, "global_pool": "avg"}),
            tuple("abcdefgh"[:5]),
        )


def test_fine_tuning_a_crate_mae_says_what_becomes_of_its_decoder(go, tmp_path, capsys):
    small = {**TINY, "decoder_depth": 1}
    save_checkpoint(parent := build_model("crate_mae_tiny_patch16_224", **small), tmp_path / "mae")
    done = go(dataclasses.replace(EXPERIMENT, options={}, start_from=str(tmp_path / "mae")), folder="tuned", show=True)
    told = f"{tmp_path / 'mae'}: the encoder learns the classes, the decoder is unchanged\n"
    assert told in capsys.readouterr().out
    before, after = parent.state_dict(), done.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    decoder = {name for name in before if name.startswith(parent.not_in_logits)}
    assert decoder and changed and not decoder & changed


def test_scale_trains_and_evaluates_on_larger_pictures_and_keeps_the_head_of_the_same_classes(go, tmp_path):
    parent = go()
    child = dataclasses.replace(EXPERIMENT, options={}, start_from=str(tmp_path / "run"))
    start = seeded_model(child, parent.model.class_names)
    assert torch.equal(start.head.weight, parent.model.head.weight)
    tuned = go(child, folder="scaled", scale=2.0)
    assert tuned.model.preprocessing.img_size == tuple(2 * side for side in parent.model.preprocessing.img_size)
    assert tuned.model.img_size == parent.model.img_size
