"""Parts as points, masks and boxes: real sets, and small written ones with a known answer."""

import json

import numpy as np
import pytest
from PIL import Image

from crate_transformer.data import crop_parts, open_part_samples


def write_set(root, records, masks=None, size=(60, 40)):
    (root / "images").mkdir(parents=True)
    for name in records:
        Image.new("RGB", size, (9, 90, 200)).save(root / "images" / f"{name}.png")
    content = {name: {"width": size[0], "height": size[1], **record} for name, record in records.items()}
    (root / "index.json").write_text(json.dumps(content))
    for name, mask in (masks or {}).items():
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")


def test_points_follow_the_crop(tmp_path):
    bird = {"boxes": {"bird": [10, 0, 50, 40]}, "points": {"beak": [30, 20], "tail": [2, 3]}, "class": "wren"}
    write_set(tmp_path, {"a": bird, "b": {**bird, "points": {"eye": [10, 8]}}, "none": {}})
    samples = open_part_samples(tmp_path)
    assert (samples.names, samples.parts, samples.has_groups) == (("a", "b"), ("beak", "eye", "tail"), False)
    cut = crop_parts(samples, samples.parts, 20)  # half of the size, 5 columns less on either side
    np.testing.assert_allclose(cut.boxes, [[0, 0, 20, 20]] * 2)
    np.testing.assert_allclose(cut.points[0], [[10, 10], [np.nan] * 2, [np.nan] * 2])
    np.testing.assert_allclose(cut.points[1, 1], [0, 4])
    assert cut.groups == ("wren", "wren") and cut.regions is None


def test_numbered_masks_are_regions(tmp_path):
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:20, 20:40], mask[30:36, 12:18] = 2, 1
    write_set(tmp_path / "open", {"a": {"parts": ["door", "wheel"]}}, {"a": mask})
    (tmp_path / "parts.json").write_text('{"1": "wheel", "2": "door"}')
    samples = open_part_samples(tmp_path / "open")
    cut = crop_parts(samples, samples.parts, 20)
    assert cut.parts == ("wheel", "door") and cut.groups == ("a",) and cut.points is None
    np.testing.assert_allclose(cut.boxes[0], [1, 5, 15, 18])
    assert cut.regions[0, 1, 5:10, 5:15].all() and cut.regions[0, 1].sum() == 50
    (tmp_path / "parts.json").write_text('{"1": "wheel"}')
    with pytest.raises(ValueError, match=r"the mask of a in .* has the values \[1, 2\]: see .*parts\.json"):
        list(open_part_samples(tmp_path / "open"))


def test_numbers_of_one_name_are_one_part_and_numbers_have_one_spelling(tmp_path):
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:20, 20:30], mask[10:20, 40:50] = 1, 2
    write_set(tmp_path, {"a": {"parts": ["eye"]}}, {"a": mask})
    (tmp_path / "parts.json").write_text('{"1": "eye", "2": "eye"}')
    (sample,) = samples = open_part_samples(tmp_path)
    assert samples.parts == ("eye",)
    np.testing.assert_array_equal(sample.regions["eye"], mask > 0)
    (tmp_path / "parts.json").write_text('{"1": "eye", "01": "beak"}')
    with pytest.raises(ValueError, match=r"parts\.json"):
        open_part_samples(tmp_path)


@pytest.mark.parametrize("boxes", [False, True])
def test_an_image_with_an_empty_mask_is_skipped_and_counted(tmp_path, caplog, boxes):
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:20, 20:40] = 1
    record = {"boxes": {"eye": [20, 10, 30, 20]}} if boxes else {"parts": ["eye"]}
    write_set(tmp_path, {"a": record, "b": record}, {"a": mask, "b": 0 * mask})
    if not boxes:
        (tmp_path / "parts.json").write_text('{"1": "eye"}')
    samples = open_part_samples(tmp_path)
    cut = crop_parts(samples, samples.parts, 20)
    assert cut.names == ("a",) and len(cut.regions) == len(cut.boxes) == len(cut.pixels) == 1
    assert "skipped 1 images with an empty mask" in caplog.text
    with pytest.raises(ValueError, match="no samples"):
        crop_parts([samples.load("b")], samples.parts, 20)


def test_boxes_beside_masks_of_objects_are_regions(tmp_path):
    mask = np.full((40, 60), 128, dtype=np.uint8)
    mask[:, 10:50] = 255
    record = {"boxes": {"head": [20, 10, 40.2, 30]}, "breed": "Bengal"}
    write_set(tmp_path, {"a": record, "b": {"breed": "Bengal"}}, {"a": mask, "b": mask})
    (sample,) = samples = open_part_samples(tmp_path)
    assert (samples.parts, samples.has_groups, sample.group) == (("head",), True, "Bengal")
    assert sample.box == (10, 0, 50, 40)
    np.testing.assert_array_equal(np.argwhere(sample.regions["head"])[[0, -1]], [[10, 20], [29, 39]])


def test_what_does_not_fit_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_part_samples(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"needs images/ and index\.json"):
        open_part_samples(tmp_path)
    bird = {"boxes": {"bird": [10, 0, 50, 40]}, "points": {"beak": [30, 20]}}
    write_set(tmp_path, {"a": bird})
    for change, message in (
        ({"points": {"beak": [1e9, 2]}}, "Expected `float` <= 1000000"),
        ({"boxes": {"bird": [1, 2, 3]}}, "Expected `array` of length 4"),
        ({"width": 61}, r"a has the size \(60, 40\), but .* says \(61, 40\)"),
        ({"boxes": {"bird": [50, 0, 10, 40]}}, "the box of a in .* is empty"),
        ({"points": {}, "boxes": {}}, "has no image with a part"),
    ):
        record = {"width": 60, "height": 40, **bird, **change}
        (tmp_path / "index.json").write_text(json.dumps({"a": record}))
        if not record["boxes"]:
            (tmp_path / "masks").mkdir()
        with pytest.raises(ValueError, match=message):
            list(open_part_samples(tmp_path))
    (tmp_path / "index.json").write_text(
        json.dumps({"a": bird | {"width": 60, "height": 40}, "b": {"width": 1, "height": 1}})
    )
    with pytest.raises(ValueError, match=r"lists b, of which .* has 0 images"):
        open_part_samples(tmp_path)


@pytest.mark.parametrize(
    ("folder", "count", "parts", "species"),
    [("cub_parts/open", 293, 15, 10), ("car_parts/open", 248, 18, 8), ("pets/open", 149, 1, 3)],
)
def test_real_parts_lie_in_their_objects(shared, folder, count, parts, species):
    samples = open_part_samples(shared / "data" / folder)
    assert (len(samples), len(samples.parts)) == (count, parts)
    cut = crop_parts(samples.spread(8), samples.parts, 64)
    assert len(set(cut.groups)) >= min(species, 3)
    visible = ~np.isnan(cut.points[..., 0]) if cut.regions is None else cut.regions.any(axis=(2, 3))
    assert visible.any(axis=0).all() or parts > 1
    for image, box in enumerate(cut.boxes):
        if cut.points is not None:
            places = cut.points[image][visible[image]]
            assert (places >= box[:2] - 1).all() and (places <= box[2:] + 1).all()
        else:
            rows, columns = np.nonzero(cut.regions[image].any(axis=0))
            inside = (box[0] - 3 <= columns) & (columns <= box[2] + 3) & (box[1] - 3 <= rows) & (rows <= box[3] + 3)
            assert inside.mean() > 0.9
