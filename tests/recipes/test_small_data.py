"""A few dozen pictures and nothing but defaults: the model learns, and says what it did and how sure it is."""

import dataclasses
import re
import zipfile

import numpy as np
import pytest

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.cli import main
from crate_transformer.data import eval_loader, open_images, photograph
from crate_transformer.evaluation import accuracy
from crate_transformer.models import MODELS

TEXTURES = ("brick", "grass", "gravel")
WNIDS = ("n01443537", "n02279972", "n09428293")  # goldfish, monarch, seashore


def cut_textures(folder, count, columns, seed):
    """Squares of 16 pixels out of these columns of three photographs, ``count`` in all."""
    random = np.random.default_rng(seed)
    for index in range(count):
        name = TEXTURES[index % 3]
        left, top = random.integers(columns.start, columns.stop - 16), random.integers(0, 496)
        (folder / name).mkdir(parents=True, exist_ok=True)
        photograph(name).crop((left, top, left + 16, top + 16)).save(folder / name / f"{index}.png")
    return folder


def unpack(archive, folder, part, per_class):
    with zipfile.ZipFile(archive) as packed:
        for name in WNIDS:
            members = sorted(m for m in packed.namelist() if m.startswith(f"{part}/{name}/") and m.endswith(".webp"))
            for member in members[:per_class]:
                target = folder / name / member.rpartition("/")[2]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(packed.read(member))
    return folder


def learn(data, unseen, tmp_path, capsys, *options):
    """Trains with the defaults; what was printed, and the accuracy on the unseen pictures."""
    assert main(["train", "--data", str(data), "--output", str(tmp_path / "run"), *options]) == 0
    model = load_checkpoint(tmp_path / "run")
    images = open_images(unseen).relabel(model.class_names)
    return capsys.readouterr().out, accuracy(model, eval_loader(images, model.preprocessing, batch_size=50)), model


SLOW = pytest.mark.slow


@pytest.mark.usefixtures("unchecked", "undrawn")
@pytest.mark.parametrize("count", [30, pytest.param(100, marks=SLOW), pytest.param(1000, marks=SLOW)])
def test_textures(count, tmp_path, capsys, monkeypatch):
    model_class, config = MODELS["crate_micro_patch4_32"]
    monkeypatch.setitem(MODELS, "crate_micro_patch4_32", (model_class, dataclasses.replace(config, depth=2)))
    data = cut_textures(tmp_path / "data", count, range(256), seed=1)
    unseen = cut_textures(tmp_path / "unseen", 90, range(256, 512), seed=2)
    out, found, model = learn(data, unseen, tmp_path, capsys, "--model", "crate_micro_patch4_32", "--img-size", "16")
    assert found.top1_interval[0] > found.chance == pytest.approx(1 / 3)
    how, plan, result = out.splitlines()
    training, held_out = map(int, re.search(r"(\d+) training and (\d+) held-out images, 3 classes$", how).groups())
    assert training + held_out == count
    used = model.provenance.metadata["experiment"]["schedule"]
    steps, batch, images, warmup = map(
        int, re.match(r"(\d+) steps of (\d+) images, .* epochs of (\d+) images, (\d+) steps of warm-up", plan).groups()
    )
    assert (steps, batch, warmup) == (used["steps"], used["batch_size"], used["warmup_steps"])
    assert images == training and batch <= training / 3 and warmup <= steps / 10 and steps >= 300
    assert plan.endswith("; steps, batch size, warmup steps chosen automatically for this number of images")
    metrics = model.provenance.metadata["metrics"]
    low, high = metrics["top1_interval"]
    assert result.startswith(
        f"top-1 {metrics['top1']:.1%} of {held_out} images (95% interval {low:.1%} to {high:.1%}; "
        "majority-class baseline 33.3%"
    )
    assert metrics["count"] == held_out and metrics["training_images"] == training


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("per_class", [10, 33, 333])
def test_photographs(per_class, tmp_path, capsys, shared):
    data = unpack(shared / "data/tiny_imagenet_100/train.zip", tmp_path / "data", "train", per_class)
    unseen = unpack(shared / "data/tiny_imagenet_100/val.zip", tmp_path / "unseen", "val", 50)
    _, found, _ = learn(data, unseen, tmp_path, capsys)
    assert found.count == 150 and found.top1_interval[0] > found.chance


def test_what_is_given_wins_and_too_little_is_said(tmp_path, capsys):
    data = cut_textures(tmp_path / "data", 12, range(256), seed=1)
    options = ("--model", "crate_micro_patch4_32", "--batch-size", "128", "--warmup-steps", "100", "--steps", "1")
    out, _, model = learn(data, data, tmp_path, capsys, *options)
    _, plan, warning, _ = out.splitlines()
    assert plan == "1 steps of 128 images, 14.2 epochs of 9 images, 100 steps of warm-up"
    assert warning.startswith("warning: 1 steps are too few to learn anything useful")
    used = model.provenance.metadata["experiment"]["schedule"]
    assert (used["steps"], used["batch_size"], used["warmup_steps"]) == (1, 128, 100)
