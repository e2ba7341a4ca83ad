"""Coarse segmentation: the golden protocol exactly, a slow reference, and cases with a known answer."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from crate_transformer.data import SegmentationArrays
from crate_transformer.evaluation import attention_miou, coarse_miou, corloc
from crate_transformer.evaluation.candidates import Candidates, cross_fit, halves, of_cues
from crate_transformer.evaluation.localisation import box_iou, largest_boxes
from crate_transformer.inspection import preprocessing_of, threshold_entries, threshold_mass
from crate_transformer.models import Preprocessing, build_model
from crate_transformer.storage import plain

GRID = 8
ROWS = {"model", "untrained", "shuffled", "mean_mask_prior", "brightness", "contrast", "median_difference"}
TINY = {"img_size": 32, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 0}


@pytest.mark.parametrize("fraction", [0.6, 0.2])
@pytest.mark.parametrize("reading", ["entries", "mass"])
@pytest.mark.parametrize("background", [False, True])
def test_equals_the_golden_protocol(shared, fraction, reading, background):
    folder = shared / "golden" / "segmentation"
    tensors = load_file(folder / "protocol.safetensors")
    key = f"{reading}_{fraction}" + "_with_background" * background
    expected = json.loads((folder / "protocol.json").read_text())[key]
    threshold = {"entries": threshold_entries, "mass": threshold_mass}[reading]
    found = coarse_miou(threshold(tensors["maps"], fraction), tensors["labels"], background=background)
    assert found.mean == pytest.approx(expected["miou"], abs=1e-12)
    np.testing.assert_allclose(found.per_image, expected["per_image"], atol=1e-12, rtol=0)
    collected: dict[str, list[float]] = {}
    for image in expected["best_iou_per_class"]:
        for label, iou in image.items():
            collected.setdefault(label, []).append(iou)
    assert found.per_class == pytest.approx({int(label): np.mean(ious) for label, ious in collected.items()}, abs=1e-12)


def test_labels_without_any_class_are_refused():
    with pytest.raises(ValueError, match="no image has a class"):
        coarse_miou(np.ones((1, 1, 2, 2), dtype=bool), np.full((1, 2, 2), 255))


def squares(count, seed=0, side=3):
    """One square of patches on each image, anywhere."""
    generator = np.random.default_rng(seed)
    masks = np.zeros((count, GRID, GRID), dtype=bool)
    for mask in masks:
        top, left = generator.integers(0, GRID - side + 1, 2)
        mask[top : top + side, left : left + side] = True
    return masks


def samples(masks, labels=None, pixels=None):
    count = len(masks)
    big = torch.from_numpy(masks.repeat(4, axis=1).repeat(4, axis=2))
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8) if pixels is None else pixels
    labels = np.arange(count) % 2 + 1 if labels is None else labels
    names = tuple(map(str, range(count)))
    return SegmentationArrays(pixels=pixels, masks=big, image=np.arange(count), label=labels, names=names)


class Seer(nn.Module):
    preprocessing = Preprocessing()


class Blind(nn.Module):
    pass


class HalfBlind(nn.Module):
    """Sees every second object."""


@pytest.fixture
def oracle(monkeypatch):
    """Models are replaced by maps: layer 1, head 2 of ``Seer`` is the mask, all others are noise."""

    def install(masks):
        def of_model(model, pixels, preprocessing, show=False):
            maps = np.random.default_rng(isinstance(model, Seer)).random((6, len(pixels), GRID, GRID))
            if isinstance(model, Seer):
                maps[5] = masks[-len(pixels) :]
            if isinstance(model, HalfBlind):
                maps[5, ::2] = masks[-len(pixels) :][::2]
            choices = tuple({"layer": layer, "head": head} for layer in range(2) for head in range(3))
            return Candidates(maps=maps, choices=choices)

        monkeypatch.setattr("crate_transformer.evaluation.candidates.of_model", of_model)

    return install


def test_a_map_equal_to_the_mask_is_chosen_and_beats_every_control(oracle):
    masks = squares(40)
    oracle(masks)
    report = attention_miou(Seer(), samples(masks), fraction=9 / 64, untrained=[Blind()])
    for protocol in (report.best_head, report.fixed_head):
        for rows in protocol.values():
            assert set(rows) == ROWS
            assert rows["model"].mean > 1.3 * max(score.mean for row, score in rows.items() if row != "model")
        assert protocol["entries"]["model"].mean == 1.0
    assert report.fixed_head["entries"]["model"].choices == ({"layer": 1, "head": 2, "sign": 1},)
    assert report.fixed_head["entries"]["model"].per_class == {1: 1.0, 2: 1.0}
    assert not report.best_head["entries"]["model"].choices
    assert report.to_dict()["layer"] == 1
    json.dumps(plain(report.to_dict()))


def test_the_untrained_model_that_happens_to_be_the_best_is_the_control(oracle):
    masks = squares(40)
    oracle(masks)
    boxes = 4.0 * largest_boxes(masks)
    several = [Blind(), HalfBlind(), Blind()]
    shown = samples(masks)
    chance = corloc(Seer(), shown.pixels, boxes, untrained=several[:1]).rows["untrained"].corloc
    for some in (several, several[1:2], several[::-1]):
        report = attention_miou(Seer(), shown, fraction=9 / 64, untrained=some)
        for protocol in (report.best_head, report.fixed_head):
            assert protocol["entries"]["untrained"].mean > 0.5
        assert report.fixed_head["entries"]["untrained"].choices == ({"layer": 1, "head": 2, "sign": 1},)
        found = corloc(Seer(), shown.pixels, boxes, untrained=some)
        assert chance + 0.2 < found.rows["untrained"].corloc < found.rows["model"].corloc


def test_undecided_patches_count_in_no_box(oracle):
    masks = squares(40)
    oracle(masks)
    found = masks.copy()
    found[:, :, GRID // 2 :] = False  # the right half is undecided, and the head marks objects there, too
    shown = found.any(axis=(1, 2))
    masks, found = masks[shown], found[shown]
    oracle(masks)
    boxes = 4.0 * largest_boxes(found)
    pixels = torch.randint(0, 256, (len(masks), 3, 32, 32), dtype=torch.uint8)
    undecided = torch.zeros(len(masks), 32, 32, dtype=torch.bool)
    undecided[:, :, 16:] = True
    scores = [corloc(Seer(), pixels, boxes, undecided=some, untrained=[Blind()]) for some in (None, undecided)]
    without, with_ = (score.rows["model"].mean_iou for score in scores)
    assert with_ > without + 0.05


def test_the_layer_of_the_protocol_is_the_one_asked_for(oracle):
    masks = squares(40)
    oracle(masks)
    report = attention_miou(Seer(), samples(masks), fraction=9 / 64, untrained=[Blind()], layer=0)
    assert report.layer == 0
    assert report.best_head["entries"]["model"].mean < 0.5
    assert report.fixed_head["entries"]["model"].mean == 1.0
    with pytest.raises(ValueError, match=r"no layer 2.*layers 0 to 1"):
        attention_miou(Seer(), samples(masks), untrained=[Blind()], layer=2)


def test_centred_objects_are_found_by_the_prior_and_bright_ones_by_brightness(oracle):
    masks = np.zeros((20, GRID, GRID), dtype=bool)
    masks[:, 3:6, 3:6] = True
    oracle(masks)
    rows = attention_miou(Seer(), samples(masks), fraction=9 / 64, untrained=[Blind()]).fixed_head["entries"]
    assert rows["mean_mask_prior"].mean == rows["shuffled"].mean == 1.0
    masks = squares(20)
    oracle(masks)
    dark = torch.from_numpy(~masks.repeat(4, axis=1).repeat(4, axis=2))[:, None].expand(-1, 3, -1, -1)
    shown = samples(masks, pixels=dark.to(torch.uint8) * 200)
    rows = attention_miou(Seer(), shown, fraction=9 / 64, untrained=[Blind()]).fixed_head["entries"]
    assert rows["brightness"].mean == 1.0
    assert rows["brightness"].choices == ({"sign": -1},)


def test_the_cues_of_an_image_do_not_depend_on_the_others():
    """Its inverted map has another mass if it is subtracted from the maximum of all images."""
    dark = torch.randint(0, 120, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    alone, beside_white = (of_cues(images, (GRID, GRID)) for images in (dark, torch.cat([dark, dark * 0 + 255])))
    for cue, candidates in alone.items():
        np.testing.assert_allclose(candidates.maps[:, 0], beside_white[cue].maps[:, 0], rtol=0, atol=1e-3)


def test_images_without_a_class_on_the_grid_are_counted_and_too_few_are_refused(oracle):
    masks = squares(8)
    masks[0] = False
    oracle(masks)
    report = attention_miou(Seer(), samples(masks), untrained=[Blind()])
    assert (report.num_images, report.num_dropped) == (7, 1)
    with pytest.raises(ValueError, match="0 images with a mask are too few"):
        attention_miou(Seer(), samples(np.zeros_like(masks)), untrained=[Blind()])


def test_a_real_model_and_its_twin_run_through_and_black_pictures_do_no_harm():
    model = build_model("crate_tiny_patch16_224", **TINY)
    for pixels in (None, torch.zeros(8, 3, 32, 32, dtype=torch.uint8)):
        report = attention_miou(model, samples(squares(8), pixels=pixels))
        for rows in (*report.best_head.values(), *report.fixed_head.values()):
            assert all(0 <= score.mean <= 1 for score in rows.values())
        assert rows["model"].standard_error >= 0


def test_the_choice_for_one_half_is_made_on_the_other():
    fold = halves(6, seed=0)
    assert sorted(fold.tolist()) == [0, 0, 0, 1, 1, 1]
    scores = np.stack([fold == 0, fold == 1]).astype(float)
    np.testing.assert_array_equal(cross_fit(scores, fold), 1 - fold)
    with pytest.raises(ValueError, match="3 images with a mask are too few"):
        halves(3, seed=0)


def test_boxes_around_the_right_map_are_found(oracle):
    masks = squares(40)
    oracle(masks)
    boxes = 4.0 * largest_boxes(masks)
    pixels = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8)
    report = corloc(Seer(), pixels, boxes, untrained=[Blind()])
    assert set(report.rows) == ROWS
    assert report.rows["model"].corloc > 0.9
    assert {choice["head"] for choice in report.rows["model"].choices} == {2}
    assert max(score.corloc for row, score in report.rows.items() if row != "model") < 0.5
    json.dumps(plain(report.to_dict()))


def test_a_head_that_marks_the_background_is_inverted(oracle):
    masks = squares(40)
    oracle(~masks)
    boxes = 4.0 * largest_boxes(masks)
    shown = samples(masks)
    found = corloc(Seer(), shown.pixels, boxes, untrained=[Blind()]).rows["model"]
    assert found.corloc > 0.9
    assert {(choice["layer"], choice["head"], choice["sign"]) for choice in found.choices} == {(1, 2, -1)}
    rows = attention_miou(Seer(), shown, fraction=9 / 64, untrained=[Blind()]).fixed_head["entries"]
    assert rows["model"].mean == 1.0 and rows["model"].choices == ({"layer": 1, "head": 2, "sign": -1},)


def test_boxes_that_do_not_fit_are_refused():
    pixels = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    model = build_model("crate_tiny_patch16_224", **TINY)
    with pytest.raises(ValueError, match="4 images but 3 boxes"):
        corloc(model, pixels, np.ones((3, 4)))
    with pytest.raises(ValueError, match="box 1 is empty"):
        corloc(model, pixels, np.array([[0, 0, 4, 4], [8, 8, 8, 12], [0, 0, 4, 4], [0, 0, 4, 4]], dtype=float))


def test_the_largest_part_has_the_box_and_boxes_overlap_as_areas_do():
    empty, mask, equal = np.zeros((3, 6, 7), dtype=bool)
    mask[0, 0] = mask[1, 1] = True
    mask[3:5, 2:6] = True
    equal[0, 5] = equal[5, 0] = True
    boxes = [[0, 0, 0, 0], [2, 3, 6, 5], [5, 0, 6, 1], [2, 3, 6, 5]]
    assert largest_boxes(np.stack([empty, mask, equal, mask])).tolist() == boxes
    found = box_iou(np.array([[0.0, 0, 2, 2], [0, 0, 0, 0]]), np.array([[1.0, 1, 3, 3], [1, 1, 2, 2]]))
    np.testing.assert_allclose(found, [1 / 7, 0])


def foreign(seed: int):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    config = transformers.ViTConfig(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=16, patch_size=8
    )
    return transformers.ViTModel(config).eval()


def test_a_vit_of_others_is_measured_with_its_own_statistics_and_one_without_is_refused():
    model, control = foreign(0), foreign(1)
    pixels = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    pixels[:, :, 8:] = 255
    boxes = np.array([[0, 8, 16, 16]] * 4, dtype=float)
    with pytest.raises(ValueError, match=r"ViTModel does not define the normalisation .* set model.preprocessing"):
        corloc(model, pixels, boxes, untrained=[control])
    model.preprocessing = Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1))
    with pytest.raises(ValueError, match="cannot initialise ViTModel"):
        corloc(model, pixels, boxes)
    seen = []
    for judged in (model, control):
        judged.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    corloc(model, pixels, boxes, untrained=[control])
    for images in seen:
        torch.testing.assert_close(images[0, :, 0, 0], torch.tensor([-1.0, -2.0, -3.0]))
        torch.testing.assert_close(images[0, :, 15, 0], torch.tensor([1.0, 3.0, 7.0]))
    assert len(seen) == 2


def test_statistics_are_those_that_timm_keeps_with_the_weights():
    model = torch.nn.Linear(1, 1)
    model.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": [0.5, 0.5, 0.5], "input_size": (3, 224, 224)}
    assert preprocessing_of(model) == Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)
    ours = build_model("crate_micro_patch4_32")
    ours.preprocessing = Preprocessing(img_size=(32, 32), std=(1.0, 1.0, 1.0))
    assert preprocessing_of(ours) is ours.preprocessing
