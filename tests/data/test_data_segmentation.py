"""Samples from VOC and plain folders of masks: what was written comes back, and misfits are named."""

import logging

import numpy as np
import pytest
from PIL import Image
from written_masks import LABELS, write_coco, write_picture

from crate_transformer.data import (
    crop_foregrounds,
    encode_mask,
    open_segmentation,
    resize_and_centre_crop,
)


def write_masks(root, pictures, masks, labels=LABELS, stem="a", palette=False):
    write_picture(root / pictures / f"{stem}.jpg")
    (root / masks / stem).parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    if palette:
        image.putpalette([value for index in range(256) for value in (index, 255 - index, 7)])
    image.save(root / masks / f"{stem}.png")


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
    with pytest.raises(ValueError, match="is not a segmentation data set"):
        open_segmentation(tmp_path)
    write_masks(tmp_path, "images", "masks", labels=LABELS[:10])
    with pytest.raises(ValueError, match=r"a\.png has 10 x 30 pixels, but its image has 20 x 30"):
        list(open_segmentation(tmp_path))
    Image.new("RGB", (30, 20)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(ValueError, match="colour image"):
        list(open_segmentation(tmp_path))
    (tmp_path / "masks" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.png is not a readable"):
        list(open_segmentation(tmp_path))
    (tmp_path / "masks" / "a.png").unlink()
    with pytest.raises(ValueError, match="contains no image"):
        open_segmentation(tmp_path)
    (tmp_path / "masks" / "z.png").touch()
    with pytest.raises(ValueError, match="images contains nothing for z"):
        open_segmentation(tmp_path)


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
    with pytest.raises(ValueError, match=r"001\.png contains the value 9, but other masks only 0 and 255"):
        list(open_segmentation(tmp_path))


def test_pictures_and_masks_are_paired_by_their_whole_path(tmp_path, caplog):
    for city, label in (("city1", 3), ("city2", 7)):
        write_masks(tmp_path, "images", "masks", stem=f"{city}/1", labels=np.full_like(LABELS, label))
    write_picture(tmp_path / "images" / "city3" / "1.jpg")
    with caplog.at_level(logging.WARNING, "crate_transformer.data"):
        samples = list(open_segmentation(tmp_path))
    assert {sample.name: list(sample.classes) for sample in samples} == {"city1/1": [3], "city2/1": [7]}
    assert "skipped 1 images without a mask" in caplog.text
    write_picture(tmp_path / "images" / "city1" / "1.png")
    with pytest.raises(ValueError, match=r"images contains city1/1\.jpg and city1/1\.png for city1/1"):
        open_segmentation(tmp_path)


def test_foregrounds_are_unions_cut_as_the_pictures(tmp_path):
    write_coco(tmp_path, encode_mask(LABELS == 7))
    cut = crop_foregrounds(open_segmentation(tmp_path), 20)
    assert cut.pixels.shape == (1, 3, 20, 20) and cut.names == ("a.jpg",)
    np.testing.assert_array_equal(cut.masks[0].numpy(), ((LABELS == 3) | (LABELS == 7))[:, 5:25])
    with pytest.raises(ValueError, match="there is no image whose masks cover 60% to 70%"):
        crop_foregrounds(open_segmentation(tmp_path), 20, coverage=(0.6, 0.7))


def test_undecided_pixels_are_kept_apart(tmp_path):
    write_masks(tmp_path, "images", "masks")
    write_masks(tmp_path, "images", "masks", stem="b", labels=np.full_like(LABELS, 3))
    first, second = open_segmentation(tmp_path)
    np.testing.assert_array_equal(first.undecided, LABELS == 255)
    assert second.undecided is None
    cut = crop_foregrounds(open_segmentation(tmp_path), 20, coverage=(0.0, 1.0))
    assert cut.undecided is None  # the corner is not in the square
    labels = np.where(LABELS == 3, 128, np.where(LABELS == 7, 255, 0)).astype(np.uint8)
    for stem in ("a", "b"):
        write_masks(tmp_path, "images", "masks", labels=labels, stem=stem)
    cut = crop_foregrounds(open_segmentation(tmp_path), 20, coverage=(0.0, 1.0))
    np.testing.assert_array_equal(cut.undecided[1], (LABELS == 3)[:, 5:25])
    np.testing.assert_array_equal(cut.masks[1], (LABELS == 7)[:, 5:25])
