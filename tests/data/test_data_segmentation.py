"""Scenes from COCO, VOC and plain folders: the masks that were written come back, and misfits are named."""

import json

import numpy as np
import pytest
from PIL import Image

from crate_transformer.data import cut_square, encode_mask, open_scenes

LABELS = np.zeros((20, 30), dtype=np.uint8)
LABELS[2:8, 3:9] = 7
LABELS[10:18, 12:28] = 3
LABELS[0, 0] = 255


def write_picture(file, size=(30, 20)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 10, 10)).save(file)


def write_masks(root, pictures, masks, labels=LABELS, stem="a", palette=False):
    write_picture(root / pictures / f"{stem}.jpg")
    (root / masks).mkdir(parents=True, exist_ok=True)
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
    scenes = open_scenes(tmp_path)
    assert (scenes.layout, scenes.names, scenes.class_names) == ("coco", ("a.jpg",), {7: "cat"})
    (scene,) = scenes
    np.testing.assert_array_equal(scene.classes[7], (LABELS == 7) | (LABELS == 3))
    np.testing.assert_array_equal(scene.objects, [LABELS == 7, LABELS == 3])
    assert scene.crowd == (False, True)


def test_polygons_are_drawn(tmp_path):
    pytest.importorskip("pycocotools")
    write_coco(tmp_path, [[3, 2, 9, 2, 9, 8, 3, 8]])
    (scene,) = open_scenes(tmp_path)
    np.testing.assert_array_equal(scene.objects[0], LABELS == 7)


@pytest.mark.parametrize(
    ("pictures", "masks", "layout"), [("JPEGImages", "SegmentationClass", "voc"), ("images", "masks", "masks")]
)
def test_a_folder_of_masks(tmp_path, pictures, masks, layout):
    write_masks(tmp_path, pictures, masks, palette=layout == "voc")
    write_masks(tmp_path, pictures, masks, stem="b", labels=np.zeros_like(LABELS))
    scenes = open_scenes(tmp_path)
    assert (scenes.layout, scenes.names, scenes.has_objects) == (layout, ("a", "b"), False)
    first, second = scenes
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
    scenes = open_scenes(tmp_path)
    (scene,) = scenes
    assert (scenes.names, scenes.has_objects) == (("b",), True)
    np.testing.assert_array_equal(scene.objects, [LABELS == 3])


def test_scenes_are_cut_at_the_centre(tmp_path):
    write_masks(tmp_path, "images", "masks")
    write_masks(tmp_path, "images", "masks", stem="b", labels=np.zeros_like(LABELS))
    cut = cut_square(open_scenes(tmp_path), 20)
    assert cut.pixels.shape == (2, 3, 20, 20)
    assert (cut.image.tolist(), cut.label.tolist(), cut.names) == ([0, 0], [3, 7], ("a", "b"))
    np.testing.assert_array_equal(cut.masks[0].numpy(), (LABELS == 3)[:, 5:25])
    with pytest.raises(ValueError, match="no scenes"):
        cut_square([], 8)


def test_what_does_not_fit_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_scenes(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is no segmentation data"):
        open_scenes(tmp_path)
    write_masks(tmp_path, "images", "masks", labels=LABELS[:10])
    with pytest.raises(ValueError, match=r"a\.png has 10 x 30 pixels, but its picture 20 x 30"):
        list(open_scenes(tmp_path))
    Image.new("RGB", (30, 20)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(ValueError, match="colour picture"):
        list(open_scenes(tmp_path))
    (tmp_path / "masks" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.png is not a readable"):
        list(open_scenes(tmp_path))
    (tmp_path / "masks" / "a.png").unlink()
    with pytest.raises(ValueError, match="holds no picture"):
        open_scenes(tmp_path)
    (tmp_path / "masks" / "z.png").touch()
    with pytest.raises(ValueError, match="holds nothing called z"):
        open_scenes(tmp_path)


@pytest.mark.parametrize(
    ("segmentation", "size", "message"),
    [
        ({"size": [20, 30], "counts": [10]}, (20, 30), r"a mask of a\.jpg .* do not add up"),
        ({"size": [30, 20], "counts": [600]}, (20, 30), r"30 x 20 pixels, but the image is 20 x 30"),
        ({"size": [10, 10], "counts": [100]}, (10, 10), r"a\.jpg has 20 x 30 pixels, but .* says 10 x 10"),
        ([[1, 2, 3]], (20, 30), "at least three points"),
        ([["x"] * 6], (20, 30), "no number"),
        ([], (20, 30), "at least three points"),
    ],
)
def test_a_coco_mask_that_does_not_fit_is_named(tmp_path, segmentation, size, message):
    write_coco(tmp_path, segmentation, size)
    with pytest.raises(ValueError, match=message):
        list(open_scenes(tmp_path))


@pytest.mark.parametrize("content", ["{", "[]", '{"images": [{}]}', '{"images": [], "annotations": [{}]}'])
def test_a_broken_list_is_named(tmp_path, content):
    (tmp_path / "instances.json").write_text(content)
    with pytest.raises(ValueError, match=r"instances\.json is not in the format"):
        open_scenes(tmp_path)
