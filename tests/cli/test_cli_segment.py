"""``crate segment`` and ``crate evaluate --segmentation`` from pictures to files; bad input is one sentence."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from crate_transformer.data import decode_mask, encode_mask

pytestmark = pytest.mark.usefixtures("two_untrained", "unchecked")


@pytest.fixture
def photos(tmp_path):
    """Two pictures of a bright block on dark noise, one black, one of a single pixel."""
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("10", "11"):
        pixels = generator.integers(0, 60, (40, 56, 3), dtype=np.uint8)
        pixels[8:24, 12:36] = 240
        Image.fromarray(pixels).save(folder / f"{name}.png")
    Image.new("RGB", (32, 32)).save(folder / "12.png")
    Image.new("RGB", (1, 1), (9, 9, 9)).save(folder / "13.png")
    return folder


@pytest.fixture
def samples(tmp_path):
    """Five pictures of one block each, in the format of COCO."""
    folder = tmp_path / "samples"
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(5):
        mask = np.zeros((32, 40), dtype=bool)
        mask[2 * number : 2 * number + 14, 4 * number : 4 * number + 16] = True
        pixels = np.where(mask[..., None], 250, 5).astype(np.uint8).repeat(3, axis=2)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 32, "width": 40})
        annotations.append({"id": number + 1, "image_id": number, "category_id": 1, "segmentation": encode_mask(mask)})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "block"}]}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("method", ["maskcut", "attention"])
def test_masks_overlays_and_coco_results_agree(crate, trained, photos, tmp_path, method):
    output = tmp_path / "out"
    ran = crate("segment", photos, "--checkpoint", trained, "--method", method, "--size", "64", "--output", output)
    assert ran.code == 0, ran.err
    results = json.loads((output / "results.json").read_text())
    found = json.loads((output / "coco_results.json").read_text())
    assert results["choices"]["method"] == method
    assert {"layer", "size"} <= results["choices"].keys()
    assert [entry["image_id"] for entry in results["pictures"]] == [10, 11, 12, 13]
    for entry in results["pictures"]:
        with Image.open(photos / f"{entry['image_id']}.png") as picture, Image.open(output / entry["masks"]) as labels:
            assert labels.size == picture.size
            numbers = np.array(labels)
        masks = [guess for guess in found if guess["image_id"] == entry["image_id"]]
        assert len(masks) == entry["objects"] == len(set(numbers.ravel().tolist()) - {0})
        assert (output / entry["masks"].replace("masks/", "overlays/")).is_file()
        for guess in masks:
            mask = decode_mask(guess["segmentation"], *numbers.shape)
            left, top, width, height = (int(number) for number in guess["bbox"])
            assert mask[top : top + height, left : left + width].sum() == mask.sum() > 0
            assert (numbers[mask] > 0).all()
    empty = [entry["image"] for entry in results["pictures"] if not entry["objects"]]
    assert results["nothing_found"] == empty
    assert str(photos / "12.png") in empty
    assert "no objects found (empty mask)" in ran.out


def test_the_results_load_into_pycocotools(crate, trained, samples, tmp_path):
    from pycocotools.coco import COCO

    output = tmp_path / "out"
    ran = crate("segment", samples / "images", "--checkpoint", trained, "--method", "attention", "--output", output)
    assert ran.code == 0, ran.err
    loaded = COCO(samples / "instances.json").loadRes(str(output / "coco_results.json"))
    assert len(loaded.anns) == 5


def test_evaluation_prints_tables_with_controls_and_writes_them(crate, trained, samples, tmp_path):
    output = tmp_path / "numbers.json"
    options = ("--size", "32", "--maskcut-size", "40", "--output", output)
    ran = crate("evaluate", trained, "--segmentation", samples, *options)
    assert ran.code == 0, ran.err
    for text in ("samples: 5 images, 32 x 32 pixels", "MaskCut", "untrained", "masks of", "mean-mask", "brightness"):
        assert text in ran.out
    assert "layer, head and sign (-1: inverted) were chosen on 2 images and are reported on the other 3" in ran.out
    numbers = json.loads(output.read_text())
    found = numbers["sets"]["samples"]
    assert found["maskcut"]["rows"]["brightness"]["mask"]["ap50"] > 0.9
    assert set(found["attention_miou"]["fixed_head"]["mass"]) == set(found["maskcut"]["rows"])
    for name in ("auc", "miou", "miou_entries", "miou_mass", "corloc", "maskcut_ap"):
        measure = found["measures"][name]
        assert set(measure["rows"]) == set(found["maskcut"]["rows"])
        assert set(measure["above"]) == set(measure["differences"]) == set(measure["rows"]) - {"model"}
        assert not measure["above"]["brightness"] and not measure["above_every_control"]  # which is the mask itself
    page = output.with_suffix(".html").read_text()
    assert "samples: MaskCut" in page and numbers["checksum"] in page
    (tmp_path / "many").mkdir()
    samples.rename(tmp_path / "many" / "samples")
    ran = crate(
        "evaluate", trained, "--segmentation", tmp_path / "many", *options, "--maskcut-size", "0", "--overwrite"
    )
    assert ran.code == 0, ran.err
    again = json.loads(output.read_text())["sets"]["samples"]
    assert again["measures"]["auc"] == found["measures"]["auc"] and again["maskcut"] is None


def test_images_left_out_for_their_coverage_are_counted(crate, trained, samples, tmp_path):
    content = json.loads((samples / "instances.json").read_text())
    everywhere = encode_mask(np.ones((32, 40), dtype=bool))
    content["annotations"].append({"id": 9, "image_id": 4, "category_id": 1, "segmentation": everywhere})
    (samples / "instances.json").write_text(json.dumps(content))
    options = ("--size", "32", "--maskcut-size", "0", "--output", tmp_path / "numbers.json")
    said = " ".join(crate("evaluate", trained, "--segmentation", samples, *options).out.split())
    for measures, reason in (("AUC and mIoU", "empty or full on the grid"), ("CorLoc", "empty")):
        assert f"1 images were left out of {measures}: their mask is {reason} or, in COCO, covers less than 3%" in said


def test_a_set_that_is_too_small_is_named_before_anything_is_measured(crate, refused, trained, samples, tmp_path):
    for name, count in (("many", 5), ("few", 3)):
        for folder in ("images", "masks"):
            (tmp_path / "sets" / name / folder).mkdir(parents=True)
        for number in range(count):
            mask = np.zeros((32, 40), dtype=np.uint8)
            mask[4:20, 8:24] = 255 if name == "many" or number else 0
            Image.fromarray(mask).save(tmp_path / "sets" / name / "masks" / f"{number}.png")
            shutil.copy(samples / "images" / f"{number}.png", tmp_path / "sets" / name / "images")
    to = ("--size", "32", "--maskcut-size", "0", "--output", tmp_path / "numbers.json")
    ran = crate("evaluate", trained, "--segmentation", tmp_path / "sets", *to)
    assert ran.code == 2 and "few has 3 images: at least 4 are needed" in ran.err and "many" not in ran.out
    few = tmp_path / "sets" / "few"
    for folder in ("images", "masks"):
        shutil.copy(few / folder / "0.png", few / folder / "3.png")
    many = few.with_name("many")
    sentence = refused("evaluate", trained, "--segmentation", many, few, *to)
    assert "few: 2 images with a mask are too few" in sentence
    assert list(json.loads((tmp_path / "numbers.json").read_text())["sets"]) == ["many"]  # what was measured is kept


def test_results_of_other_settings_are_kept(crate, refused, trained, samples, tmp_path):
    output = tmp_path / "numbers.json"
    options = ("evaluate", trained, "--segmentation", samples, "--maskcut-size", "0", "--output", output)
    assert crate(*options, "--size", "32").code == 0
    for other in (("--size", "40"), ("--size", "32", "--seed", "1"), ("--size", "32", "--limit", "4")):
        assert "made from something else" in refused(*options, *other)
    assert "made from something else" in refused("evaluate", trained, "--parts", samples, "--output", output)
    assert crate(*options, "--size", "32").code == 0  # the same command replaces its own results


def test_masks_without_single_objects_are_one_object(crate, trained, samples, tmp_path):
    (samples / "masks").mkdir()
    for number in range(5):
        labels = np.zeros((32, 40), dtype=np.uint8)
        labels[2 * number : 2 * number + 14, 4 * number : 4 * number + 16] = 255
        labels[2 * number + 14, :] = 128
        Image.fromarray(labels).save(samples / "masks" / f"{number}.png")
    (samples / "instances.json").unlink()
    options = ("--size", "32", "--maskcut-size", "40", "--output", tmp_path / "numbers.json")
    ran = crate("evaluate", trained, "--segmentation", samples, *options)
    assert ran.code == 0, ran.err
    assert "one object per image: the whole mask" in " ".join(ran.out.split())
    found = json.loads((tmp_path / "numbers.json").read_text())["sets"]["samples"]
    assert found["maskcut"]["rows"]["brightness"]["mask"]["ap50"] > 0.9


def test_boxes_are_located(crate, trained, samples, tmp_path):
    boxes = {f"images/{n}.png": [4 * n, 2 * n, 4 * n + 16, 2 * n + 14] for n in range(4)} | {
        "images/4.png": [3, 3, 3, 9]
    }
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    options = ("--boxes", tmp_path / "boxes.json", "--output", tmp_path / "numbers.json")
    ran = crate("evaluate", trained, "--data", samples, *options)
    assert ran.code == 0, ran.err
    assert "1 boxes of zero area were skipped" in ran.out
    rows = json.loads((tmp_path / "numbers.json").read_text())["corloc"]["rows"]
    assert rows["brightness"]["corloc"] > rows["shuffled"]["corloc"]


def test_bad_input_of_segment_is_one_sentence(refused, trained, photos, tmp_path):
    attention = ("--method", "attention")
    for options, message in (
        (("--tau", "1"), "--tau is 1.0"),
        (("--mass", "0"), "--mass is 0.0"),
        (("--num-masks", "0"), "--num-masks is 0"),
        (("--size", "2"), "--size is 2: it must be at least one patch"),
        (("--layer", "9"), "there is no layer 9: the model has layers 0 to 5"),
        ((*attention, "--layer", "-9"), "there is no layer -9"),
        ((*attention, "--head", "7"), "there is no head 7: the model has heads 0 to 3"),
        (("--size", "4000"), "choose a smaller --size"),
        (("--head", "1"), "--head would be ignored: it is for --method attention"),
        ((*attention, "--num-masks", "1"), "--num-masks would be ignored: it is for --method maskcut"),
    ):
        assert message in refused("segment", photos, "--checkpoint", trained, "--output", tmp_path, *options)
    assert "does not exist" in refused("segment", tmp_path / "nowhere", "--checkpoint", trained)


def test_bad_input_of_the_evaluation_is_one_sentence(refused, trained, samples, tmp_path):
    assert "give the data: --data FOLDER" in refused("evaluate", trained)
    assert "--boxes needs the folder" in refused("evaluate", trained, "--boxes", tmp_path)
    to = ("--output", tmp_path / "numbers.json")
    assert "does not exist" in refused("evaluate", trained, "--segmentation", tmp_path / "nowhere", *to)
    (tmp_path / "empty").mkdir()
    assert "is not a segmentation data set" in refused("evaluate", trained, "--segmentation", tmp_path / "empty", *to)
    evaluate = ("evaluate", trained, "--segmentation", samples, *to)
    assert "leave --data and --boxes out" in refused(*evaluate, "--data", samples)
    assert "--limit is 2" in refused(*evaluate, "--limit", "2")
    assert "is not a segmenter: --limit is for" in refused("evaluate", trained, "--data", samples, "--limit", "4")
    assert "less than one patch" in refused(*evaluate, "--size", "3")
    assert "there is no layer 8: the model has layers 0 to 5" in refused(*evaluate, "--layer", "8")
    content = json.loads((samples / "instances.json").read_text())
    for segmentation, message in (
        ({"size": [32, 40], "counts": "00"}, "do not add up to 32 x 40 pixels"),
        ({"size": [40, 32], "counts": [1280]}, "for 40 x 32 pixels, but the image is 32 x 40"),
    ):
        content["annotations"][0]["segmentation"] = segmentation
        (samples / "instances.json").write_text(json.dumps(content))
        assert message in refused(*evaluate)
    content["annotations"] = []
    (samples / "instances.json").write_text(json.dumps(content))
    assert "0 images with a mask are too few" in refused(*evaluate)
    for boxes, message in (
        ("[]", "Expected `object`, got `array`"),
        ('{"x": [1]}', "Expected `array` of length 4"),
        ('{"x": [1, 2, 3, 4]}', "x"),
    ):
        (tmp_path / "boxes.json").write_text(boxes)
        assert message in refused("evaluate", trained, "--data", samples, "--boxes", tmp_path / "boxes.json")
