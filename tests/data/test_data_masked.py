"""Images with masks for training: what is written comes back, both are cropped alike, and faults are one sentence."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from written_masks import write_coco

from crate_transformer.configs import AugmentConfig
from crate_transformer.data import (
    VOID,
    BrokenImageError,
    MaskedView,
    digits,
    encode_mask,
    masked_digits,
    open_masked,
    open_split,
)
from crate_transformer.models import Preprocessing

VALUES = np.zeros((24, 30), np.uint8)
VALUES[4:20, 6:18] = 1
VALUES[10:16, 20:28] = 2
VALUES[0] = VOID
SHADES = {0: 0, 1: 120, 2: 240, VOID: 0}


def write(folder, names, values=VALUES):
    """Images whose brightness tells the class, with their masks."""
    picture = np.vectorize(SHADES.get)(values).astype(np.uint8)[..., None].repeat(3, axis=2)
    for kind, content in (("images", picture), ("masks", values)):
        for name in names:
            file = folder / kind / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(file)
    return folder


def test_a_folder_is_divided_by_names(tmp_path):
    split = open_masked(write(tmp_path, "abcdefghijkl"))
    assert split.divided_here and len(split.train) == 11 and len(split.val) == 1 and split.val.part_of == 12
    assert split.train.classes == ("background", "1", "2") and not set(split.train.keys()) & set(split.val.keys())
    again = open_masked(write(tmp_path / "moved", "abcdefghijkl"))
    assert again.val.names == split.val.names and again.train.fingerprint() == split.train.fingerprint()
    image, mask = split.val.read_masked(0)
    assert image.size == (30, 24)
    np.testing.assert_array_equal(np.array(mask), VALUES)


def test_parts_and_names_of_classes(tmp_path):
    write(tmp_path / "train", "ab")
    write(tmp_path / "val", "a", values=np.where(VALUES == 2, 0, VALUES).astype(np.uint8))
    assert open_masked(tmp_path).val.classes == ("background", "1", "2")
    (tmp_path / "classes.json").write_text(json.dumps(["wall", "cat", "dog", "cow"]))
    split = open_masked(tmp_path)
    assert split.train.classes == split.val.classes == ("wall", "cat", "dog", "cow") and not split.divided_here
    assert split.val.content_key(0, "k") != split.train.content_key(0, "k")


def test_parts_inside_the_two_folders(tmp_path):
    write(tmp_path, ["train/a", "train/b", "val/a"])
    split = open_masked(tmp_path)
    assert (split.train.names, split.val.names) == (["train/a", "train/b"], ["val/a"]) and not split.divided_here
    write(tmp_path, ["other/c"])
    with pytest.raises(ValueError, match="contains other beside train and val"):
        open_masked(tmp_path)


def test_the_same_name_with_another_content_is_another_image(tmp_path):
    here, there = (open_masked(write(tmp_path / name, "ab")) for name in ("here", "there"))
    assert here.train.keys() == there.train.keys() and here.train.fingerprint() == there.train.fingerprint()
    file = tmp_path / "there" / "images" / f"{there.train.names[0]}.png"
    file.write_bytes(file.read_bytes() + b"\0")
    assert here.train.keys() != there.train.keys() and here.train.fingerprint() != there.train.fingerprint()


def test_a_corrected_mask_is_other_data(tmp_path):
    train = open_masked(write(tmp_path, "ab")).train
    keys, fingerprint = train.keys(), train.fingerprint()
    file = tmp_path / "masks" / f"{train.names[0]}.png"
    file.write_bytes(file.read_bytes() + b"\0")
    assert train.keys() == keys and train.fingerprint() != fingerprint


def test_a_broken_image_does_not_hide_the_classes_of_the_others(tmp_path):
    write(tmp_path, "abc")
    (tmp_path / "images" / "b.png").write_text("no picture")
    split = open_masked(tmp_path)
    assert split.train.classes == ("background", "1", "2") and len(split.train) + len(split.val) == 3
    for name in "ac":
        (tmp_path / "images" / f"{name}.png").write_text("no picture")
    with pytest.raises(BrokenImageError, match=r"images/[abc].png is not a readable image"):
        open_masked(tmp_path)


@pytest.mark.parametrize("part", ["", "train/", "val/"])
@pytest.mark.parametrize("pair", [("images", "masks"), ("JPEGImages", "SegmentationClass")])
def test_images_and_masks_are_not_two_classes(tmp_path, part, pair):
    for folder in ("train", "val"):
        write(tmp_path / "all" / folder, "ab")
        for old, new in zip(("images", "masks"), pair, strict=True):
            (tmp_path / "all" / folder / old).rename(tmp_path / "all" / folder / new)
    data = tmp_path / "all" / part
    with pytest.raises(
        ValueError, match=rf"contains images and their masks \({pair[0]}/ and {pair[1]}/\), not classes"
    ):
        open_split(data)
    with pytest.raises(ValueError, match=rf"give .*/(train|val)/{pair[0]}$"):
        open_split(data, labelled=False)
    (tmp_path / "words" / "masks").mkdir(parents=True)
    for name, kind in (("ghost", "masks"), ("devil", "masks"), ("lake", "images"), ("tree", "images")):
        (tmp_path / "words" / kind).mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "words" / kind / f"{name}.png")
    assert open_split(tmp_path / "words").train.classes == ("images", "masks")  # without a common name


def test_the_lists_of_voc(tmp_path):
    write(tmp_path, "abc")
    for old, new in (("images", "JPEGImages"), ("masks", "SegmentationClass")):
        (tmp_path / old).rename(tmp_path / new)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nc\n")
    (lists / "val.txt").write_text("b\n")
    split = open_masked(tmp_path)
    assert (split.train.names, split.val.names) == (["a", "c"], ["b"])
    (lists / "val.txt").unlink()
    with pytest.raises(ValueError, match=r"val.txt is missing"):  # never all masks, those for training among them
        open_masked(tmp_path)


def test_coco_ids_are_numbered(tmp_path):
    masks = np.zeros((20, 30), bool)
    masks[2:8, 3:9] = True
    for part in ("train", "val"):
        write_coco(tmp_path / part, encode_mask(masks))
    split = open_masked(tmp_path)
    assert split.train.classes == ("background", "cat") and split.train.ids == {7: 1}
    assert np.array(split.train.read_masked(0)[1])[2:8, 3:9].all()


def test_parts_of_coco_may_number_their_categories_differently(tmp_path):
    masks = np.ones((20, 30), bool)
    for part, first in (("train", "cat"), ("val", "dog")):
        write_coco(tmp_path / part, encode_mask(masks))
        file = tmp_path / part / "instances.json"
        content = json.loads(file.read_text())
        content["categories"] = [{"id": 7, "name": first}, {"id": 9, "name": "catdog".replace(first, "")}]
        file.write_text(json.dumps(content))
    split = open_masked(tmp_path)
    assert split.val.classes == split.train.classes == ("background", "cat", "dog")
    assert [np.unique(np.array(part.read_masked(0)[1])).tolist() for part in (split.train, split.val)] == [[1], [2]]
    content["categories"][0]["name"] = "cow"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"val has the class 'cow', but .*train does not: name all classes in both"):
        open_masked(tmp_path)


@pytest.mark.parametrize("min_area", [0.3, 1.0])
def test_image_and_mask_are_cropped_and_flipped_alike(tmp_path, min_area):
    source = open_masked(write(tmp_path, "ab", values=np.where(VALUES == VOID, 0, VALUES).astype(np.uint8))).train
    view = MaskedView(AugmentConfig(min_area=min_area), Preprocessing(img_size=(48, 48)))
    agreed, flipped = [], set()
    for seed in range(8):
        seen = view(source, 0, np.random.default_rng(seed), (48, 48))
        said = (seen["images"].float().mean(dim=0) / 120).round()
        agreed.append((said == seen["masks"]).float().mean().item())
        flipped.add(int((seen["masks"][:, :24] == 2).sum() < (seen["masks"][:, 24:] == 2).sum()))
    assert min(agreed) > 0.85 and flipped == {0, 1}
    evaluated = view(source, 0, None, (24, 24))
    assert evaluated["masks"].shape == (24, 24) and evaluated["masks"].unique().tolist() == [0, 1, 2]


def test_digits_have_masks():
    made = digits("train", 5, size=16)
    by_class, single = masked_digits(made), masked_digits(made, by_class=False)
    assert by_class.classes == ("background", *"0123456789") and single.classes == ("background", "digit")
    for index in range(5):
        values = np.unique(np.array(by_class.read_masked(index)[1]))
        assert values.tolist() == [0, made.labels[index] + 1]
    assert torch.equal(single.masks.bool(), made.masks) and single.fingerprint() != by_class.fingerprint()
    assert by_class.subset([3]).masks.shape == (1, 16, 16)


def faulty(tmp_path, fault):
    write(tmp_path, "ab")
    file = tmp_path / "masks" / "a.png"
    if fault == "missing":
        file.unlink()
    elif fault == "size":
        Image.fromarray(VALUES[:10]).save(file)
    elif fault == "void":
        Image.fromarray(np.full_like(VALUES, VOID)).save(file)
    elif fault == "empty":
        write(tmp_path, "ab", values=np.zeros_like(VALUES))
    elif fault in ("range", "names"):
        names = ["wall", "cat"] if fault == "range" else {"1": "cat"}
        (tmp_path / "classes.json").write_text(json.dumps(names))
    elif fault == "many":
        Image.fromarray(np.full(VALUES.shape, 300, np.uint16)).save(file)
    split = open_masked(tmp_path)
    for part in (split.train, split.val):
        part.read_masked(0)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("missing", r"images/a.png has no mask: add .*masks/a.png, or remove the image"),
        ("size", r"masks/a.png has 10 x 30 pixels, but its image has 24 x 30"),
        ("void", r"the mask of a in .* has no class, only 255: remove the image"),
        ("empty", r"has 1 classes, the background included: segmentation needs 2 to 255"),
        (
            "range",
            r"has the class 2, but the classes are 0 to 1: correct the mask, or name all classes in .*classes.json",
        ),
        ("names", r"classes.json"),
        ("many", r"has 301 classes, the background included: segmentation needs 2 to 255"),
    ],
)
def test_a_fault_is_one_sentence(tmp_path, fault, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        faulty(tmp_path, fault)
    assert "\n" not in str(error.value)


def test_255_beside_several_classes_is_not_an_object(tmp_path):
    write(tmp_path / "train", "abc")
    write(tmp_path / "val", "de", values=np.where(VALUES == VOID, VOID, 0).astype(np.uint8))
    (tmp_path / "classes.json").write_text(json.dumps(["wall", "cat", "dog"]))
    with pytest.raises(ValueError, match=r"val contain only 0 and 255, but there are 3 classes"):
        open_masked(tmp_path)
    (tmp_path / "classes.json").write_text(json.dumps(["wall", "cat"]))
    assert np.unique(open_masked(tmp_path).val.read_masked(0)[1]).tolist() == [0, 1]


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_masked(tmp_path / "nothing")
