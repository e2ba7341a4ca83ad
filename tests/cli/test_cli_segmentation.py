"""``crate train --task segmentation`` and ``crate evaluate`` on images with masks."""

import json
import os
import signal

import numpy as np
import pytest
from PIL import Image

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.data import digits, masked_digits, open_masked
from crate_transformer.models import Segmenter
from crate_transformer.training.stepper import Stepper

TASK = ("--task", "segmentation", "--decoder-depth", "1", "--decoder-heads", "1")


@pytest.fixture
def masked(tmp_path):
    """Twelve digits with their masks."""
    made = masked_digits(digits("train", 12, size=16), by_class=False)
    for index in range(12):
        for kind, content in zip(("images", "masks"), made.read_masked(index), strict=True):
            (tmp_path / "masked" / kind).mkdir(parents=True, exist_ok=True)
            content.save(tmp_path / "masked" / kind / f"{index}.png")
    return tmp_path / "masked"


def test_trained_evaluated_and_looked_into(crate, refused, train, masked, tmp_path):
    run = tmp_path / "run"
    ran = crate(*train(masked, *TASK, "--layerwise"))
    assert ran.code == 0, ran
    assert "layer_00_subspace_rate" in (run / "metrics.jsonl").read_text()
    assert (
        "11 training and 1 held-out images, 2 classes" in ran.out and "mIoU" in ran.out and "prior of each" in ran.out
    )
    model = load_checkpoint(run)
    assert isinstance(model, Segmenter) and model.class_names == ("background", "1")
    found = crate("evaluate", run, "--data", masked)
    assert found.code == 0 and "training may have used" not in found.err, found
    scores, trained = json.loads(found.out), model.provenance.metadata["metrics"]
    assert scores["miou"] == pytest.approx(trained["miou"]) and scores["count"] == 1
    assert scores["prior_miou"] == pytest.approx(trained["prior_miou"])
    assert scores["images_used"] == f"1 of the 12 images of {masked}, which training held out"
    assert "is a segmenter: leave" in refused("evaluate", run, "--data", masked, "--real", "real.json")
    assert "has no classifier" in refused("classify", masked, "--checkpoint", run)
    tuned = crate(*train(masked, *TASK)[:3], "--output", tmp_path / "tuned", "--start-from", run, *TASK,
                  "--steps", "2", "--attention", "cross", "--freeze-backbone")  # fmt: skip
    assert tuned.code == 0 and load_checkpoint(tmp_path / "tuned").config.decoder.attention == "cross", tuned
    mask = Image.fromarray(np.full((16, 16), 3, np.uint8))
    mask.save(masked / "masks" / "0.png")
    assert "has the classes background, 1, 2, 3" in refused("evaluate", run, "--data", masked)


OTHERWISE = ("--freeze-backbone", "--attention", "cross", "--optimizer", "adamw")


@pytest.mark.parametrize("more", [(), pytest.param(OTHERWISE, marks=pytest.mark.slow)])
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(crate, train, masked, tmp_path, monkeypatch, more):
    """With a running average, evaluations and the best model, each of which goes on, too; one image is broken."""
    (masked / "images" / "5.png").write_text("no picture")
    schedule = (
        "--steps",
        "10",
        "--evaluate-every",
        "3",
        "--patience",
        "9",
        "--ema-decay",
        "0.9",
        "--precision",
        "float32",
    )
    options = (*TASK, *schedule, *more)
    assert crate(*train(masked, *options)).code == 0
    step_of, stops = Stepper.__call__, {3, 5}  # counted from 0: after four steps, and after six, where one evaluates

    def interrupted(stepper, batches, step, waiting):
        if step in stops:
            stops.remove(step)
            os.kill(os.getpid(), signal.SIGINT)
        return step_of(stepper, batches, step, waiting)

    monkeypatch.setattr(Stepper, "__call__", interrupted)
    parts = tmp_path / "parts"
    for _ in range(2):
        ran = crate(*train(masked, *options), "--output", parts)
        assert ran.code == 130 and ran.err.endswith("crate: interrupted; the same command goes on from here\n"), ran
    ran = crate(*train(masked, *options), "--output", parts)
    assert ran.code == 0 and json.loads((parts / "config.json").read_text())["metadata"]["metrics"]["resumed_at"] == 6
    for file in ("model.safetensors", "best/model.safetensors"):
        assert (parts / file).read_bytes() == (tmp_path / "run" / file).read_bytes()
    evaluated = [
        [(record["step"], record["miou"]) for record in map(json.loads, lines) if "miou" in record]
        for lines in ((folder / "metrics.jsonl").read_text().splitlines() for folder in (parts, tmp_path / "run"))
    ]
    assert evaluated[0] == evaluated[1] and [step for step, _ in evaluated[0]] == [3, 6, 9, 10]


def test_images_with_masks_are_no_classes(refused, train, trained, masked, tmp_path):
    commands = (train(masked), ("check-data", masked), ("probe", trained, masked, "--output", tmp_path / "probe"))
    for told in (refused(*command) for command in commands):
        assert told == (
            f"{masked} contains images and their masks (images/ and masks/), not classes of images: they are for the "
            "task segmentation and for crate evaluate --segmentation"
        )
    assert refused(*train(masked, "--task", "simdino")).endswith(f"give {masked}/images")


def test_faults_of_the_data_are_one_sentence(refused, train, masked, tmp_path):
    (masked / "masks" / "3.png").unlink()
    assert "images/3.png has no mask: add" in refused(*train(masked, *TASK))
    Image.new("L", (4, 4)).save(masked / "masks" / "3.png")
    assert "masks/3.png has 4 x 4 pixels, but its image has 16 x 16" in refused(*train(masked, *TASK))
    Image.new("L", (16, 16), 255).save(masked / "masks" / "3.png")
    (masked / "classes.json").write_text(json.dumps(["background", "digit"]))
    assert "the mask of 3 in" in refused(*train(masked, *TASK, "--steps", "20"))
    assert not (tmp_path / "run").exists()  # before the first step
    held_out = open_masked(masked).val.names[0]
    Image.new("L", (16, 16), 3).save(masked / "masks" / f"{held_out}.png")
    (masked / "masks" / "3.png").unlink()
    (masked / "images" / "3.png").unlink()
    assert f"the mask of {held_out} in" in refused(*train(masked, *TASK))
    picture = masked / "images" / f"{held_out}.png"
    picture.write_bytes(bytes(picture.stat().st_size))  # as long as before, so that it is held out again
    assert f"none of the held-out images of {masked} can be read" in refused(*train(masked, *TASK))
    assert not (tmp_path / "run").exists()
    assert "leave them out" in refused(*train(masked, *TASK, "--mixup", "0.5"))
    assert "but not their masks: leave it out" in refused(*train(masked, *TASK, "--randaugment", "2"))
