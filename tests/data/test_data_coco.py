"""Samples from COCO: the masks that were written come back, and misfits are named."""

import json
import logging

import numpy as np
import pytest
import torch
from written_masks import LABELS, write_coco, write_picture

from crate_transformer.data import (
    BrokenImageError,
    crop_foregrounds,
    encode_mask,
    open_segmentation,
)


def test_a_coco_folder(tmp_path):
    write_coco(tmp_path, encode_mask(LABELS == 7))
    samples = open_segmentation(tmp_path)
    assert (samples.layout, samples.names, samples.class_names) == ("coco", ("a.jpg",), {7: "cat"})
    (sample,) = samples
    np.testing.assert_array_equal(sample.classes[7], (LABELS == 7) | (LABELS == 3))
    np.testing.assert_array_equal(sample.objects, [LABELS == 7, LABELS == 3])
    assert sample.crowd == (False, True)


def test_polygons_are_drawn(tmp_path):
    write_coco(tmp_path, [[3, 2, 9, 2, 9, 8, 3, 8]])
    (sample,) = open_segmentation(tmp_path)
    np.testing.assert_array_equal(sample.objects[0], LABELS == 7)


@pytest.mark.parametrize(
    ("polygon", "reason"),
    [
        ([3, 2, 9, 2, 9, 8, 3], "a COCO polygon needs at least three points, with x and y alternating"),
        ([3, 2, 9, 2, 9, 1e9], "a polygon has the coordinate 1000000000.0, far outside the 20 x 30 pixels"),
        ([3, 2, 9, 2, 9, -21], "a polygon has the coordinate -21.0, far outside the 20 x 30 pixels"),
    ],
)
def test_an_odd_polygon_is_left_out_and_told(tmp_path, caplog, polygon, reason):
    write_coco(tmp_path, [polygon])
    (sample,) = open_segmentation(tmp_path)
    np.testing.assert_array_equal(sample.objects, [LABELS == 3])
    assert f"skipped 1 of 2 masks of a.jpg: {reason}" in caplog.text


@pytest.mark.parametrize(
    ("segmentation", "size", "message"),
    [
        ({"size": [20, 30], "counts": [10]}, (20, 30), r"a mask of a\.jpg .* do not add up"),
        ({"size": [30, 20], "counts": [600]}, (20, 30), r"30 x 20 pixels, but the image is 20 x 30"),
        ({"size": [10, 10], "counts": [100]}, (10, 10), r"a\.jpg has 20 x 30 pixels, but .* says 10 x 10"),
        ([["x"] * 6], (20, 30), r"Expected `float`.*annotations\[0\]\.segmentation"),
        ({"size": [], "counts": []}, (20, 30), r"segmentation\.size"),
        ({"size": [20, 30], "counts": "oooooooooooooooo"}, (20, 30), "more than 64 bits"),
    ],
)
def test_a_coco_mask_that_does_not_fit_is_named(tmp_path, segmentation, size, message):
    write_coco(tmp_path, segmentation, size)
    with pytest.raises(ValueError, match=message):
        list(open_segmentation(tmp_path))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_polygons_of_no_numbers_are_refused(tmp_path, number):
    write_coco(tmp_path, [[3, 2, 9, 2, 9, 8.25, 3, 8]])
    file = tmp_path / "instances.json"
    file.write_text(file.read_text().replace("8.25", number))
    with pytest.raises(ValueError, match=r"instances\.json.*(not a JSON number|is too large)"):
        list(open_segmentation(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not readable JSON"),
        ("[]", "Expected `object`"),
        ('{"images": [{}]}', r"`id` - at `\$\.images"),
        ('{"images": [], "annotations": [{}]}', r"`image_id` - at `\$\.annotations"),
        ('{"images": [], "annotations": [{"image_id": [1], "category_id": 1}]}', r"annotations\[0\]\.image_id"),
        ('{"images": [], "annotations": [{"image_id": 1, "category_id": 1e30}]}', "category_id"),
        ('{"images": [], "annotations": [{"image_id": 1, "category_id": null}]}', "category_id"),
    ],
)
def test_a_broken_list_is_named(tmp_path, content, message):
    (tmp_path / "instances.json").write_text(content)
    with pytest.raises(ValueError, match=rf"instances\.json.*{message}"):
        open_segmentation(tmp_path)


def change_coco(root, change):
    content = json.loads((root / "instances.json").read_text())
    change(content)
    (root / "instances.json").write_text(json.dumps(content))


def test_no_mask_of_coco_is_lost_in_silence(tmp_path, caplog):
    write_coco(tmp_path, encode_mask(LABELS == 7))

    def change(content):
        box_only = [{"image_id": 5, "category_id": 7, "segmentation": s} for s in ([], None, [[]], [[1, 2, 3, 4]])]
        content["annotations"] += [*box_only, {"image_id": 6, "category_id": 7}, {"image_id": "5", "category_id": 8}]
        content["annotations"][-1]["segmentation"] = [[12, 10, 28, 10, 28, 18, 12, 18], []]
        content["annotations"].append(
            {"image_id": 5, "category_id": 7, "segmentation": [[1.1, 1.1, 1.2, 1.1, 1.2, 1.2]]}
        )

    change_coco(tmp_path, change)
    with caplog.at_level(logging.WARNING, "crate_transformer.data"):
        (sample,) = open_segmentation(tmp_path)
    np.testing.assert_array_equal(sample.objects, [LABELS == 7, LABELS == 3, LABELS == 3])
    np.testing.assert_array_equal(sample.classes[8], LABELS == 3)
    messages = "\n".join(caplog.messages)
    for part in (
        "4 annotations without a mask",
        "1 annotations of images",
        "1 annotations have a category_id",
        "no pixel",
    ):
        assert part in messages


def test_names_and_numbers_of_coco_are_single(tmp_path):
    write_coco(tmp_path, encode_mask(LABELS == 7))
    change_coco(tmp_path, lambda content: content["images"].append({**content["images"][0], "id": 6}))
    with pytest.raises(ValueError, match=r"two images with the file_name 'a\.jpg'"):
        open_segmentation(tmp_path)
    change_coco(tmp_path, lambda content: content["images"][1].update(id="5", file_name="b.jpg"))
    with pytest.raises(ValueError, match="two images with the id '5'"):
        open_segmentation(tmp_path)


@pytest.mark.parametrize("name", ["../a.jpg", "/dev/zero", "images/../../a.jpg"])
def test_pictures_of_coco_stay_in_their_folder(tmp_path, name):
    write_coco(tmp_path / "data", encode_mask(LABELS == 7))
    write_picture(tmp_path / "data" / "a.jpg")
    change_coco(tmp_path / "data", lambda content: content["images"][0].update(file_name=name))
    with pytest.raises(BrokenImageError, match="is not inside"):
        list(open_segmentation(tmp_path / "data"))


def test_the_masks_of_one_picture_are_bounded(tmp_path, monkeypatch):
    write_coco(tmp_path, encode_mask(LABELS == 7))
    change_coco(tmp_path, lambda content: content["annotations"].extend(content["annotations"] * 900))
    (sample,) = open_segmentation(tmp_path)
    assert len(sample.objects) == 1802
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", "1")
    with pytest.raises(ValueError, match=r"a\.jpg.*more than the limit of 1; set .* CRATE_MEMORY_LIMIT"):
        list(open_segmentation(tmp_path))


def test_a_list_too_large_says_how_to_allow_it(tmp_path, monkeypatch):
    write_coco(tmp_path, encode_mask(LABELS == 7))
    change_coco(tmp_path, lambda content: content.update(info="a" * (1 << 18)))
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", "1")
    with pytest.raises(ValueError, match=r"instances\.json has .* bytes, more than .* CRATE_MEMORY_LIMIT"):
        open_segmentation(tmp_path)
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", "2")
    assert len(open_segmentation(tmp_path)) == 1


@pytest.mark.data
def test_coco_sample(shared):
    cut = crop_foregrounds(open_segmentation(shared / "data/coco_val100"), 64)
    assert 55 <= len(cut.names) <= 70 and len(set(cut.names)) == len(cut.names)
    coverage = cut.masks.float().mean((1, 2))
    assert torch.all((coverage >= 0.03) & (coverage <= 0.60))
