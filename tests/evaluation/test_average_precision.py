"""Average precision has the values that can be worked out by hand, and MaskCut's carries its controls."""

import json
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from crate_transformer.data import SegmentationSample
from crate_transformer.evaluation import average_precision, maskcut_average_precision
from crate_transformer.evaluation.average_precision import mask_box
from crate_transformer.evaluation.candidates import TRIVIAL
from crate_transformer.models import build_model
from crate_transformer.reports.table import format_cell
from crate_transformer.storage import plain

TINY = {"img_size": 32, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 0}


def block(top, left, height, width, size=(40, 60)):
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_perfect_masks_have_precision_one_and_none_have_zero():
    truth = [[block(0, 0, 10, 10), block(20, 20, 10, 30)], [block(5, 5, 30, 30)]]
    found = average_precision(truth, [[1.0, 0.5], [1.0]], truth, [[False, False], [False]])
    for kind in ("box", "mask"):
        assert found[kind].to_dict() == {"ap": 1.0, "ap50": 1.0, "ap75": 1.0}
    nothing = average_precision([[block(0, 0, 0, 0)], []], [[1.0], []], truth, [[False, False], [False]])
    assert nothing["mask"].ap == nothing["box"].ap50 == 0


def test_an_overlap_counts_up_to_its_threshold_and_boxes_apart_from_masks():
    truth = [[block(0, 0, 10, 10)]]
    found = average_precision([[block(0, 0, 10, 7)]], [[1.0]], truth, [[False]])
    assert found["mask"].to_dict() == pytest.approx({"ap": 0.5, "ap50": 1.0, "ap75": 0.0})
    hollow = block(0, 0, 10, 10) & ~block(2, 2, 6, 6)
    found = average_precision([[hollow]], [[1.0]], truth, [[False]])
    assert (found["box"].ap, found["mask"].ap50, found["mask"].ap75) == pytest.approx((1.0, 1.0, 0.0))


def test_a_wrong_mask_ranked_first_halves_the_precision_and_a_crowd_forgives():
    right, wrong = block(0, 0, 10, 10), block(20, 20, 10, 10)
    late = average_precision([[wrong, right]], [[1.0, 0.5]], [[right]], [[False]])
    early = average_precision([[wrong, right]], [[0.5, 1.0]], [[right]], [[False]])
    forgiven = average_precision([[wrong, right]], [[1.0, 0.5]], [[right, block(15, 15, 20, 20)]], [[False, True]])
    assert late["mask"].ap == pytest.approx(0.5)
    assert (early["mask"].ap, forgiven["mask"].ap) == pytest.approx((1.0, 1.0))


def test_resampled_images_count_as_often_as_they_are_drawn():
    right, wrong = block(0, 0, 10, 10), block(20, 20, 10, 10)
    draws = np.array([[0, 0], [1, 1], [0, 1], [1, 0]])
    found = average_precision([[right], [wrong]], [[1.0], [0.5]], [[right], [right]], [[False], [False]], draws)
    half = found["mask"].ap
    assert found["mask"].draws == pytest.approx((1.0, 0.0, half, half)) and 0.5 <= half < 0.51
    assert found["mask"].to_dict()["standard_error"] == pytest.approx(np.std([1, 0, half, half], ddof=1))
    nothing = average_precision([[], []], [[], []], [[right], [right]], [[False], [False]], draws)
    assert nothing["box"].draws == (0.0,) * 4


def test_what_does_not_fit_is_refused():
    mask = block(0, 0, 4, 4)
    with pytest.raises(ValueError, match="predictions for 1 images but objects for 2"):
        average_precision([[mask]], [[1.0]], [[mask], [mask]], [[False], [False]])
    with pytest.raises(ValueError, match="masks of image 0 differ in size"):
        average_precision([[mask[:10]]], [[1.0]], [[mask]], [[False]])


def test_without_an_object_to_find_precision_is_not_defined_and_shown_as_such():
    mask = block(0, 0, 4, 4)
    nothing_or_a_crowd = ([[]], [[]]), ([[mask]], [[True]])
    for truth, crowd in nothing_or_a_crowd:
        for guesses in ([mask], []):
            found = average_precision([guesses], [[1.0] * len(guesses)], truth, crowd)
            for kind in ("box", "mask"):
                assert all(np.isnan(value) for value in found[kind].to_dict().values())
                assert plain(found[kind].to_dict()) == {"ap": None, "ap50": None, "ap75": None}
                assert format_cell(100 * found[kind].ap) == format_cell(None)


def test_boxes_are_tight():
    assert mask_box(block(3, 5, 7, 9)) == [5.0, 3.0, 9.0, 7.0]
    assert mask_box(block(0, 0, 0, 0)) == [0.0] * 4


def sample(seed, colour=255):
    """One bright block on a dark picture."""
    generator = np.random.default_rng(seed)
    mask = block(*(int(n) for n in generator.integers(2, 18, 2)), 14, 16)
    pixels = np.where(mask[..., None], colour, 0).astype(np.uint8).repeat(3, axis=2)
    return SegmentationSample(
        name=str(seed), picture=Image.fromarray(pixels), classes={1: mask}, objects=(mask,), crowd=(False,)
    )


def test_maskcut_is_reported_with_its_controls_and_a_bright_object_is_the_trivial_cue():
    model = build_model("crate_tiny_patch16_224", **TINY)
    report = maskcut_average_precision(model, map(sample, range(4)), size=40, num_masks=2)
    assert set(report.rows) == {"model", "untrained", "shuffled", "mean_mask_prior", *TRIVIAL}
    assert report.rows["brightness"]["mask"].ap50 > 0.9
    assert report.rows["shuffled"]["mask"].ap75 == 0
    assert (report.layer, report.num_images, report.input_size) == (1, 4, (40, 40))
    assert report.objects_per_image["shuffled"] == report.objects_per_image["model"]
    json.dumps(plain(report.to_dict()))


def test_the_best_of_several_untrained_models_is_the_control(monkeypatch):
    seeing = []

    def cut(judged, inputs, **options):
        bright = torch.nn.functional.avg_pool2d(inputs.mean(dim=1, keepdim=True), 4).numpy() > 0
        return SimpleNamespace(masks=bright & (judged in seeing), layer=1)

    model, *twins = (build_model("crate_tiny_patch16_224", **TINY) for _ in range(4))
    monkeypatch.setattr("crate_transformer.evaluation.maskcut_ap.maskcut", cut)
    for sees, high in ((twins[0], True), (twins[1], True), (twins[2], True), (model, False)):
        seeing[:] = [sees]
        rows = maskcut_average_precision(model, map(sample, range(4)), size=40, untrained=twins).rows
        assert (rows["untrained"]["mask"].ap50 > 0.9) == (rows["untrained"]["box"].ap50 > 0.9) == high
        assert (rows["model"]["mask"].ap50 > 0.9) != high


@pytest.mark.usefixtures("two_untrained")
def test_undecided_pixels_belong_to_no_mask():
    model, bright = build_model("crate_tiny_patch16_224", **TINY), [sample(seed) for seed in range(4)]
    samples = []
    for each in bright:  # of the bright block, the left half is the object and the right one is undecided
        (whole,) = each.objects
        middle = int(np.flatnonzero(whole.any(axis=0)).mean()) + 1
        left = whole & (np.arange(whole.shape[1]) < middle)
        samples.append(replace(each, classes={1: left}, objects=(left,), undecided=whole & ~left))
    scored = maskcut_average_precision(model, samples, size=40).rows["brightness"]["mask"].ap50
    forgotten = [replace(each, undecided=None) for each in samples]
    assert scored > 0.9 > 0.5 > maskcut_average_precision(model, forgotten, size=40).rows["brightness"]["mask"].ap50


@pytest.mark.usefixtures("two_untrained")
def test_masks_of_many_large_images_do_not_stay_in_memory(monkeypatch):
    monkeypatch.setattr("crate_transformer.evaluation.maskcut_ap.DRAWS", 2)

    def large(seed):
        small, scale = sample(seed), np.ones((8, 8), dtype=bool)
        mask = np.kron(small.objects[0], scale)
        picture = small.picture.resize(mask.shape[::-1])
        return replace(small, picture=picture, classes={1: mask}, objects=(mask,) * 4, crowd=(False,) * 4)

    model, peaks = build_model("crate_tiny_patch16_224", **TINY), []
    maskcut_average_precision(model, map(large, range(2)), size=32)  # what is imported and cached stays
    for count in (2, 8):
        tracemalloc.start()
        maskcut_average_precision(model, map(large, range(count)), size=32)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    print("bytes at the peak:", peaks)
    one = 40 * 60 * 8**2  # of a mask, of which there are 4 of each image besides those of every row
    assert peaks[1] - peaks[0] < 20 * one


def test_black_pictures_have_no_objects_and_one_scene_is_too_few():
    model = build_model("crate_tiny_patch16_224", **TINY)
    torch.nn.init.zeros_(model.pos_embed)
    report = maskcut_average_precision(model, [sample(0, 0), sample(1, 0)], size=32)
    assert report.rows["brightness"]["mask"].ap == 0
    assert report.objects_per_image["contrast"] == 0
    with pytest.raises(ValueError, match="at least two images, not 1"):
        maskcut_average_precision(model, [sample(0)], size=32)
