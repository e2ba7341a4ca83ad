"""What commands do with a segmenter: the classes of ``crate segment``, weights alone, data that was held out."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.data import digits, masked_digits, normalise, open_masked, pixels
from crate_transformer.models import DEPICTConfig, Segmenter, SegmenterConfig, build_model

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture
def masked(tmp_path):
    """Four digits with their masks; one image is enlarged to another shape."""
    made = masked_digits(digits("train", 4, size=16), by_class=False)
    for index in range(4):
        for kind, content in zip(("images", "masks"), made.read_masked(index), strict=True):
            (tmp_path / "masked" / kind).mkdir(parents=True, exist_ok=True)
            content = content.resize((50, 33), Image.Resampling.NEAREST) if index == 3 else content
            content.save(tmp_path / "masked" / kind / f"{index}.png")
    return tmp_path / "masked"


@pytest.fixture
def segmenter(tmp_path, masked):
    """A small one with random weights, which held out all images."""
    torch.manual_seed(3)
    backbone = build_model("crate_micro_patch4_32", img_size=16, depth=2, embed_dim=8, num_heads=2, num_classes=0)
    decoder = DEPICTConfig(num_classes=3, depth=1, num_heads=1, head_dim=4)
    model = Segmenter(SegmenterConfig(backbone=backbone.config, decoder=decoder), backbone).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    model.class_names = ("background", "digit", "noise")
    model.preprocessing = replace(model.preprocessing, img_size=(16, 16), crop_pct=1.0)
    split = open_masked(masked)
    keys = [*split.train.keys(), *split.val.keys()]
    metadata = {"split": {"how": split.how, "divided_here": True, "held_out": sorted(keys)}}
    save_checkpoint(model, tmp_path / "segmenter", metadata=metadata)
    return tmp_path / "segmenter"


def test_every_pixel_gets_the_class_that_the_model_gives_it(crate, refused, segmenter, masked, tmp_path):
    output = tmp_path / "out"
    command = ("segment", masked / "images", "--checkpoint", segmenter, "--output", output)
    ran = crate(*command)
    assert ran.code == 0 and f"classes in 4 images: {output}" in ran.out and "backbone" not in ran.out, ran
    results, model = json.loads((output / "results.json").read_text()), load_checkpoint(segmenter)
    assert results["choices"] == {"method": "classes", "size": 16}
    assert [entry["name"] for entry in results["classes"]] == ["background", "digit", "noise"]
    for entry in results["pictures"]:
        names = entry["image"], output / entry["masks"], output / entry["overlay"]
        with Image.open(names[0]) as file, Image.open(names[1]) as mask, Image.open(names[2]) as overlay:
            picture, labels = file.convert("RGB"), np.array(mask)
            assert mask.mode == "P" and mask.size == overlay.size == picture.size
        values, counts = np.unique(labels, return_counts=True)
        assert [found["value"] for found in entry["classes"]] == values.tolist()
        shares = [found["fraction"] for found in entry["classes"]]
        assert shares == pytest.approx((counts / labels.size).tolist(), rel=1e-5)  # six digits are written
        if picture.size == (16, 16):  # nothing is resized
            with torch.inference_mode():
                expected = model(normalise(pixels(picture), model.preprocessing)[None])[0].argmax(dim=0)
            np.testing.assert_array_equal(labels, expected.numpy())
    assert any(len(entry["classes"]) > 1 for entry in results["pictures"])
    first = {file: file.stat().st_mtime_ns for file in output.rglob("*.png")}
    next((output / "classes").iterdir()).unlink()
    assert crate(*command).code == 0
    changed = [file for file, then in first.items() if file.stat().st_mtime_ns != then]
    assert len(changed) == 2  # mask and overlay of the image without a record

    assert "a segmenter, whose classes do not depend on --num-masks" in refused(*command, "--num-masks", "2")
    assert "different settings (size)" in refused(*command, "--size", "24")
    assert "choose another --output, or replace them" in refused(*command, "--method", "maskcut")
    ran = crate(*command, "--method", "maskcut", "--size", "24", "--overwrite")
    assert ran.code == 0 and "this command uses its backbone" in ran.out and "objects in 4 images" in ran.out, ran
    assert (output / "coco_results.json").is_file() and not list((output / "classes").iterdir())


def test_weights_alone_say_what_the_decoder_needs(refused, segmenter, masked, tmp_path):
    file = shutil.copy(segmenter / "model.safetensors", tmp_path / "alone.safetensors")
    message = refused("segment", masked / "images", "--checkpoint", file, "--output", tmp_path / "out")
    assert "decoder needs the config.json saved with it" in message and "--weights 'backbone' for its" in message


def test_a_start_that_held_out_all_images_leaves_nothing_to_train_on(refused, train, segmenter, masked, tmp_path):
    start = train(masked, "--task", "segmentation", "--start-from", segmenter)[:5]
    message = refused(*start, "--task", "segmentation", "--start-from", segmenter, "--steps", "2", "--batch-size", "2")
    assert f"{segmenter} held out all training images of {masked}: nothing is left to train on" in message
    assert not (tmp_path / "run").exists()
