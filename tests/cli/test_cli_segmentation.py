"""``crate train --task segmentation`` and ``crate evaluate`` on images with masks."""

import json

import numpy as np
import pytest
from PIL import Image

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.data import digits, masked_digits, open_masked
from crate_transformer.models import Segmenter

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
    ran = crate(*train(masked, *TASK))
    assert ran.code == 0, ran
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


def test_faults_of_the_data_are_one_sentence(refused, train, masked, tmp_path):
    (masked / "masks" / "3.png").unlink()
    assert "images/3.png has no mask: add" in refused(*train(masked, *TASK))
    Image.new("L", (4, 4)).save(masked / "masks" / "3.png")
    assert "masks/3.png has 4 x 4 pixels, but its image has 16 x 16" in refused(*train(masked, *TASK))
    Image.new("L", (16, 16), 255).save(masked / "masks" / "3.png")
    (masked / "classes.json").write_text(json.dumps(["background", "digit"]))
    assert "the mask of 3 in" in refused(*train(masked, *TASK, "--steps", "20"))
    held_out = open_masked(masked).val.names[0]
    Image.new("L", (16, 16), 3).save(masked / "masks" / f"{held_out}.png")
    assert f"the mask of {held_out} in" in refused(*train(masked, *TASK))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()  # before the first step
    assert "leave them out" in refused(*train(masked, *TASK, "--mixup", "0.5"))
    assert "but not their masks: leave it out" in refused(*train(masked, *TASK, "--randaugment", "2"))
