"""Samples from COCO, VOC and plain folders: the masks that were written come back, and misfits are named."""

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from crate_transformer.data import (
    BrokenImageError,
    crop_foregrounds,
    encode_mask,
    open_segmentation,
    resize_and_centre_crop,
)

LABELS = np.zeros((20, 30), dtype=np.uint8)
LABELS[2:8, 3:9] = 7
LABELS[10:18, 12:28] = 3
LABELS[0, 0] = 255


def write_picture(file, size=(30, 20)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 10, 10)).save(file)


def write_masks(root, pictures, masks, labels=LABELS, stem="a", palette=False):
    write_picture(root / pictures / f"{stem}.jpg")
    (root / masks / stem).parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    if palette:
        image.putpalette([value for index in range(256) for value in (index, 255 - index, 7)])
    image.save(root / masks / f"{stem}.png")


def write_coco(root, segmentation, size=(20, 30)):
    write_picture(root / "images" / "a.jpg")
    image = {"id": 5, "file_name": "a.jpg", "height": size[0], "width": size[1]}
    annotations = [
        {"image_id": 5, "category_id": 7, "segmentation": segmentation, "iscrowd": 0},
        {"image_id": 5, "category_id": 7, "segmentation": encode_mask(LABELS == 3), "iscrowd": 1},
    ]
    content = {"images": [image], "annotations": annotations, "categories": [{"id": 7, "name": "cat"}]}
    (root / "instances.json").write_text(json.dumps(content))


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
        ([3, 2, 9, 2, 9, 8, 3], "a polygon of COCO needs at least three points, x and y in turn"),
        ([3, 2, 9, 2, 9, 1e9], "a polygon has the coordinate 1000000000.0, far outside of 20 x 30 pixels"),
        ([3, 2, 9, 2, 9, -21], "a polygon has the coordinate -21.0, far outside of 20 x 30 pixels"),
    ],
)
def test_an_odd_polygon_is_left_out_and_told(tmp_path, caplog, polygon, reason):
    write_coco(tmp_path, [polygon])
    (sample,) = open_segmentation(tmp_path)
    np.testing.assert_array_equal(sample.objects, [LABELS == 3])
    assert f"left out 1 of 2 masks of a.jpg: {reason}" in caplog.text


@pytest.mark.parametrize(
    ("pictures", "masks", "layout"), [("JPEGImages", "SegmentationClass", "voc"), ("images", "masks", "masks")]
)
def test_a_folder_of_masks(tmp_path, pictures, masks, layout):
    write_masks(tmp_path, pictures, masks, palette=layout == "voc")
    write_masks(tmp_path, pictures, masks, stem="b", labels=np.zeros_like(LABELS))
    samples = open_segmentation(tmp_path)
    assert (samples.layout, samples.names, samples.has_objects) == (layout, ("a", "b"), False)
    first, second = samples
    assert list(first.classes) == [3, 7]
    assert not second.classes
    for label in (3, 7):
        np.testing.assert_array_equal(first.classes[label], label == LABELS)


def test_the_list_and_the_objects_of_voc_are_followed(tmp_path):
    for stem in ("a", "b"):
        write_masks(tmp_path, "JPEGImages", "SegmentationClass", stem=stem)
    write_masks(
        tmp_path, "JPEGImages", "SegmentationObject", labels=np.where(LABELS == 3, 1, 0).astype(np.uint8), stem="b"
    )
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("b\n")
    samples = open_segmentation(tmp_path)
    (sample,) = samples
    assert (samples.names, samples.has_objects) == (("b",), True)
    np.testing.assert_array_equal(sample.objects, [LABELS == 3])


def test_scenes_are_cut_at_the_centre(tmp_path):
    write_masks(tmp_path, "images", "masks")
    write_masks(tmp_path, "images", "masks", stem="b", labels=np.zeros_like(LABELS))
    cut = resize_and_centre_crop(open_segmentation(tmp_path), 20)
    assert cut.pixels.shape == (2, 3, 20, 20)
    assert (cut.image.tolist(), cut.label.tolist(), cut.names) == ([0, 0], [3, 7], ("a", "b"))
    np.testing.assert_array_equal(cut.masks[0].numpy(), (LABELS == 3)[:, 5:25])
    with pytest.raises(ValueError, match="no samples"):
        resize_and_centre_crop([], 8)


def test_what_does_not_fit_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_segmentation(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is no segmentation data"):
        open_segmentation(tmp_path)
    write_masks(tmp_path, "images", "masks", labels=LABELS[:10])
    with pytest.raises(ValueError, match=r"a\.png has 10 x 30 pixels, but its picture 20 x 30"):
        list(open_segmentation(tmp_path))
    Image.new("RGB", (30, 20)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(ValueError, match="colour picture"):
        list(open_segmentation(tmp_path))
    (tmp_path / "masks" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.png is not a readable"):
        list(open_segmentation(tmp_path))
    (tmp_path / "masks" / "a.png").unlink()
    with pytest.raises(ValueError, match="holds no picture"):
        open_segmentation(tmp_path)
    (tmp_path / "masks" / "z.png").touch()
    with pytest.raises(ValueError, match="images holds nothing for z"):
        open_segmentation(tmp_path)


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
    with pytest.raises(ValueError, match=r"instances\.json.*(no number of JSON|too large a number)"):
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
    with pytest.raises(BrokenImageError, match="does not lie in"):
        list(open_segmentation(tmp_path / "data"))


def test_the_masks_of_one_picture_are_bounded(tmp_path, monkeypatch):
    write_coco(tmp_path, encode_mask(LABELS == 7))
    change_coco(tmp_path, lambda content: content["annotations"].extend(content["annotations"] * 900))
    (sample,) = open_segmentation(tmp_path)
    assert len(sample.objects) == 1802
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", "1")
    with pytest.raises(ValueError, match=r"a\.jpg.*more than the limit of 1; a larger CRATE_MEMORY_LIMIT"):
        list(open_segmentation(tmp_path))


def test_a_list_too_large_says_how_to_allow_it(tmp_path, monkeypatch):
    write_coco(tmp_path, encode_mask(LABELS == 7))
    change_coco(tmp_path, lambda content: content.update(info="a" * (1 << 18)))
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", "1")
    with pytest.raises(ValueError, match=r"instances\.json has .* bytes, more than .* a larger CRATE_MEMORY_LIMIT"):
        open_segmentation(tmp_path)
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", "2")
    assert len(open_segmentation(tmp_path)) == 1


@pytest.mark.parametrize("undecided", [False, True])
def test_masks_of_0_and_255_mark_objects(tmp_path, undecided, caplog):
    labels = np.where(LABELS == 3, 255, 0).astype(np.uint8)
    labels[0] = 128 if undecided else 0
    write_masks(tmp_path, "images", "masks", labels=labels)
    write_masks(tmp_path, "images", "masks", labels=np.zeros_like(labels), stem="b")
    with caplog.at_level(logging.WARNING, "crate_transformer.data"):
        samples = open_segmentation(tmp_path)
    assert "255 marks the object" in caplog.text
    first, second = samples
    assert samples.class_names == {1: "object"} and list(first.classes) == [1] and not second.classes
    np.testing.assert_array_equal(first.classes[1], LABELS == 3)


def test_one_mask_of_other_values_among_many_of_0_and_255_is_refused(tmp_path):
    for index in range(200):
        write_masks(tmp_path, "images", "masks", labels=np.full_like(LABELS, 255), stem=f"{index:03}")
    write_masks(tmp_path, "images", "masks", labels=np.full_like(LABELS, 9), stem="001")
    with pytest.raises(ValueError, match=r"001\.png holds the value 9, but other masks 0 and 255 alone"):
        list(open_segmentation(tmp_path))


def test_pictures_and_masks_are_paired_by_their_whole_path(tmp_path, caplog):
    for city, label in (("city1", 3), ("city2", 7)):
        write_masks(tmp_path, "images", "masks", stem=f"{city}/1", labels=np.full_like(LABELS, label))
    write_picture(tmp_path / "images" / "city3" / "1.jpg")
    with caplog.at_level(logging.WARNING, "crate_transformer.data"):
        samples = list(open_segmentation(tmp_path))
    assert {sample.name: list(sample.classes) for sample in samples} == {"city1/1": [3], "city2/1": [7]}
    assert "left out 1 pictures without a mask" in caplog.text
    write_picture(tmp_path / "images" / "city1" / "1.png")
    with pytest.raises(ValueError, match=r"images holds city1/1\.jpg and city1/1\.png for city1/1"):
        open_segmentation(tmp_path)


def test_foregrounds_are_unions_cut_as_the_pictures(tmp_path):
    write_coco(tmp_path, encode_mask(LABELS == 7))
    cut = crop_foregrounds(open_segmentation(tmp_path), 20)
    assert cut.pixels.shape == (1, 3, 20, 20) and cut.names == ("a.jpg",)
    np.testing.assert_array_equal(cut.masks[0].numpy(), ((LABELS == 3) | (LABELS == 7))[:, 5:25])
    with pytest.raises(ValueError, match="on no picture the masks cover 60% to 70%"):
        crop_foregrounds(open_segmentation(tmp_path), 20, coverage=(0.6, 0.7))


@pytest.mark.data
def test_coco_sample(shared):
    cut = crop_foregrounds(open_segmentation(shared / "data/coco_val100"), 64)
    assert 55 <= len(cut.names) <= 70 and len(set(cut.names)) == len(cut.names)
    coverage = cut.masks.float().mean((1, 2))
    assert torch.all((coverage >= 0.03) & (coverage <= 0.60))
