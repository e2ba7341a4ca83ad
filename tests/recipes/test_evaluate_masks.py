"""Which images with masks a segmenter is evaluated on, and where its controls come from."""

import shutil

import pytest

from crate_transformer.checkpoints.provenance import Provenance
from crate_transformer.data import digits, masked_digits, open_masked
from crate_transformer.models import DEPICTConfig, Segmenter, SegmenterConfig, build_model
from crate_transformer.recipes.held_out import keys_held_out
from crate_transformer.recipes.masks import evaluate_masks


def write(folder, count, seed_part="train"):
    """Digits with the names 0, 1, ..."""
    made = masked_digits(digits(seed_part, count, size=16), by_class=False)
    for index in range(count):
        for kind, content in zip(("images", "masks"), made.read_masked(index), strict=True):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            content.save(folder / kind / f"{index}.png")
    return folder


@pytest.fixture
def segmenter():
    backbone = build_model("crate_micro_patch4_32", img_size=16, depth=1, embed_dim=8, num_heads=2)
    decoder = DEPICTConfig(num_classes=2, depth=1, num_heads=1, head_dim=4)
    model = Segmenter(SegmenterConfig(backbone=backbone.config, decoder=decoder), backbone).eval()
    model.class_names = ("background", "1")

    def trained_on(split):
        kept = {"how": split.how, "divided_here": split.divided_here, "held_out": sorted(keys_held_out(split))}
        model.provenance = Provenance(source="here", format="", family="CRATE", metadata={"split": kept})
        return model

    return trained_on


def test_held_out_images_alone_or_beside_the_others(tmp_path, segmenter):
    split = open_masked(write(tmp_path / "whole", 20))
    model = segmenter(split)
    found = evaluate_masks(model, tmp_path / "whole")
    assert found["count"] == 2 and found["warning"] is None
    for name in split.train.names:
        for kind in ("images", "masks"):
            (tmp_path / "whole" / kind / f"{name}.png").unlink()
    alone = evaluate_masks(model, tmp_path / "whole")  # the controls can only come from the same images
    assert alone["count"] == 2 and alone["warning"] is None and alone["miou"] == found["miou"]
    assert alone["prior_miou"] > found["prior_miou"]


def test_all_images_of_another_folder_are_used_and_a_warning_says_so(tmp_path, segmenter):
    model = segmenter(open_masked(write(tmp_path / "whole", 20)))
    found = evaluate_masks(model, write(tmp_path / "other", 20, "test"))  # the same names
    assert found["count"] == 20 and "training may have used them" in found["warning"]


def test_equal_images_in_both_parts(tmp_path, segmenter):
    write(tmp_path / "train", 4)
    write(tmp_path / "val", 4, "test")
    shutil.copy(tmp_path / "train" / "images" / "0.png", tmp_path / "val" / "images" / "0.png")
    split = open_masked(tmp_path)
    model = segmenter(split)
    assert len(keys_held_out(split)) == 3
    assert evaluate_masks(model, tmp_path)["count"] == 3


def test_the_first_images_alone(tmp_path, segmenter):
    split = open_masked(write(tmp_path / "train", 40))
    model = segmenter(split)
    every, some = evaluate_masks(model, tmp_path / "train"), evaluate_masks(model, tmp_path / "train", limit=3)
    assert every["count"] == 4 and some["count"] == 3 and some["prior_miou"] != every["prior_miou"]
    assert some["images_used"] == f"the first 3 of {every['images_used']}"
    assert evaluate_masks(model, tmp_path / "train", limit=9, batch_size=1) == every
    with pytest.raises(ValueError, match="batch_size is 0"):
        evaluate_masks(model, tmp_path / "train", batch_size=0)
