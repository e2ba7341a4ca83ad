"""Scores of attention against masks, on slow references and at the edges."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from squares import GRID, PATCH, SIDE, noise, squares

from crate_transformer.evaluation import MaskScore, attention_segmentation, rank_auc, top_iou
from crate_transformer.evaluation.scores import FRACTIONS, shuffled_auc, shuffled_iou
from crate_transformer.evaluation.segmentation import SegmentationReport
from crate_transformer.inspection import attention_maps, threshold_entries, untrained_twin
from crate_transformer.models import build_model


def test_the_untrained_row_is_the_highest_of_five_models():
    options = {"img_size": 32, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 0}
    model = build_model("crate_tiny_patch16_224", **options).eval()
    twins = {f"twin {number}": untrained_twin(model, 5 + number) for number in range(5)}
    images, masks, pixels = torch.randn(16, 3, SIDE, SIDE), squares(16, size=12), noise(16)
    report = attention_segmentation({"m": model, **twins}, images, masks, pixels, signs=True, seed=1)
    for rows in (report.auc, report.miou):
        for suffix in ("", "_centred"):
            found = [rows[f"{twin}{suffix}"].mean for twin in twins]
            assert rows[f"m_untrained{suffix}"].mean == max(found) > min(found)
    best = max(twins, key=lambda twin: report.auc[twin].mean)
    np.testing.assert_array_equal(report.layer_auc["m_untrained"], report.layer_auc[best])
    np.testing.assert_array_equal(report.selection_auc["m_untrained"], report.selection_auc[best])
    assert report.layer_heads["m_untrained"] == report.layer_heads[best]


@pytest.mark.parametrize("family", ["crate_micro_patch4_32", "vit_micro_patch4_32"])
def test_every_row_equals_a_slow_reference(family, monkeypatch):
    monkeypatch.setattr("crate_transformer.inspection.controls.UNTRAINED_MODELS", 1)
    model = build_model(family, depth=2).eval()
    images, masks, pixels = torch.randn(16, 3, SIDE, SIDE), squares(16, size=12), noise(16)
    others = torch.randn(10, 3, SIDE, SIDE), squares(10, seed=1, size=12), noise(10)
    report = attention_segmentation({"m": model}, images, masks, pixels, selection=others)
    assert (report.num_selection, report.num_reported) == (10, 16)
    on_selection, on_reported = grid_masks(others[1]), grid_masks(masks)

    def check(row, selection, reported, choices, atol=1e-9):
        aucs = {
            (c, None): np.mean([roc_auc_score(m, x) for m, x in zip(on_selection, s, strict=True)])
            for c, s in enumerate(selection)
        }
        ious = {
            (c, f): np.mean([slow_iou(m, x, f) for m, x in zip(on_selection, s, strict=True)])
            for c, s in enumerate(selection)
            for f in FRACTIONS
        }
        for found, means, slow, bound in (
            (report.auc[row], aucs, lambda m, x, _: roc_auc_score(m, x), atol),
            (report.miou[row], ious, slow_iou, 1e-9),
        ):
            # means of ratios of small integers are often equal, and rounding puts either first
            best = [key for key, mean in means.items() if mean > max(means.values()) - 1e-9]
            best = [(c, f) for c, f in best if (*choices[c], f) == (found.layer, found.head, found.fraction)]
            assert best
            expected = [[slow(m, x, f) for m, x in zip(on_reported, reported[c], strict=True)] for c, f in best]
            assert any(np.allclose(found.per_image, values, rtol=1e-7, atol=bound) for values in expected)

    choices = [(layer, head) for layer in range(2) for head in range(4)]
    for row, judged in (("m", model), ("m_untrained", untrained_twin(model))):
        first, second = (
            attention_maps(judged, some).maps.transpose(1, 2, 0, 3, 4).reshape(8, len(some), -1)
            for some in (others[0], images)
        )
        check(row, first, second, choices)
        average = first.astype(np.float64).mean(axis=1, keepdims=True)
        check(f"{row}_centred", first - average, second - average, choices)
        by_layer = [[np.mean([roc_auc_score(m, x) for m, x in zip(on_selection, s, strict=True)]) for s in layer]
                    for layer in (first[:4], first[4:])]  # fmt: skip
        heads = tuple(int(np.argmax(row)) for row in by_layer)
        assert report.layer_heads[row] == heads
        np.testing.assert_allclose(report.selection_auc[row], by_layer)
        for layer, head in enumerate(heads):
            maps = second[4 * layer + head]
            mean = np.mean([roc_auc_score(m, x) for m, x in zip(on_reported, maps, strict=True)])
            assert report.layer_auc[row][layer] == pytest.approx(mean)
    prior = on_selection.mean(axis=0)
    check("mean_mask_prior", prior[None, None].repeat(10, 1), prior[None, None].repeat(16, 1), [(None, None)])
    luminance = [
        (0.299 * p[:, 0] + 0.587 * p[:, 1] + 0.114 * p[:, 2]).reshape(-1, 8, 4, 8, 4).swapaxes(2, 3).reshape(-1, 64, 16)
        for p in (others[2].numpy(), pixels.numpy())
    ]

    def from_the_median(values, axis):
        means = values.mean(axis=axis)
        return np.stack([abs(image - np.mean(sorted(image)[31:33])) for image in means])

    one_pair = 1.01 / (9 * 55)  # the two middle patches are equally far from the median; rounding puts either first
    for row, cue, atol in (
        ("brightness", np.mean, 1e-9),
        ("contrast", np.std, 1e-9),
        ("median_difference", from_the_median, one_pair),
    ):
        signed = [np.stack([cue(values, axis=-1), -cue(values, axis=-1)]) for values in luminance]
        check(row, *signed, [(None, None)] * 2, atol)


def grid_masks(masks: torch.Tensor) -> np.ndarray:
    patches = masks.numpy().reshape(-1, GRID, PATCH, GRID, PATCH)
    return (patches.mean(axis=(2, 4)) > 0.5).reshape(-1, GRID * GRID)


def slow_iou(mask: np.ndarray, values: np.ndarray, fraction: float) -> float:
    kept = threshold_entries(np.asarray(values, dtype=np.float64)[None], fraction)[0]
    return (kept & mask).sum() / (kept | mask).sum()


def test_auc_and_iou_with_ties_and_the_shuffled_scores():
    generator = np.random.default_rng(0)
    maps = generator.integers(0, 4, (3, 6, 20)).astype(np.float64)
    masks = generator.random((6, 20)) > 0.6
    for candidate, aucs in zip(maps, rank_auc(maps, masks), strict=True):
        expected = [roc_auc_score(mask, values) for mask, values in zip(masks, candidate, strict=True)]
        np.testing.assert_allclose(aucs, expected)
    fractions = (0.01, 0.25, 1.0)
    found = top_iou(maps, masks, fractions)
    assert found.shape == (3, 3, 6)
    for index, fraction in np.ndenumerate(fractions):
        for candidate, image in np.ndindex(3, 6):
            expected = slow_iou(masks[image], maps[candidate, image], fraction)
            assert found[index][candidate, image] == pytest.approx(expected)
    for image in range(6):
        others = [other for other in range(6) if other != image]
        expected = np.mean([roc_auc_score(masks[other], maps[0, image]) for other in others])
        assert shuffled_auc(maps[0], masks)[image] == pytest.approx(expected)
        expected = np.mean([slow_iou(masks[other], maps[0, image], 0.3) for other in others])
        assert shuffled_iou(maps[0], masks, 0.3)[image] == pytest.approx(expected)
    np.testing.assert_allclose(rank_auc(np.zeros((6, 20)), masks), 0.5)


def test_entries_that_are_not_scored_change_nothing():
    generator = np.random.default_rng(1)
    maps = generator.integers(0, 4, (6, 20)).astype(np.float64)
    scored = generator.random((6, 20)) > 0.3
    masks = (generator.random((6, 20)) > 0.5) & scored
    np.testing.assert_allclose(rank_auc(maps, masks, np.ones_like(masks)), rank_auc(maps, masks))
    for image in range(6):
        others = [other for other in range(6) if other != image]
        aucs = [roc_auc_score(mask[some], maps[image][some]) for mask, some in zip(masks, scored, strict=True)]
        assert rank_auc(maps, masks, scored)[image] == pytest.approx(aucs[image])
        assert shuffled_auc(maps, masks, scored)[image] == pytest.approx(np.mean([aucs[other] for other in others]))
        kept = threshold_entries(maps[image][None], 0.3)[0]
        ious = [((kept & m).sum() / ((kept & some) | m).sum()) for m, some in zip(masks, scored, strict=True)]
        assert top_iou(maps, masks, [0.3], scored)[0, image] == pytest.approx(ious[image])
        expected = np.mean([ious[other] for other in others])
        assert shuffled_iou(maps, masks, 0.3, scored)[image] == pytest.approx(expected)


def test_beats_uses_the_paired_standard_error():
    base = np.linspace(0, 1, 11)
    controls = ("m_untrained", "m_shuffled", "brightness", "contrast", "median_difference")
    scores = {row: MaskScore(per_image=base - 0.01) for row in controls}
    jitter = np.where(np.arange(11) % 2, 0.5, -0.5)
    scores |= {"m": MaskScore(per_image=base), "mean_mask_prior": MaskScore(per_image=base - 0.01 + jitter)}
    report = SegmentationReport(
        models=("m",),
        auc=scores,
        miou=scores,
        layer_auc={},
        layer_heads={},
        selection_auc={},
        num_selection=11,
        num_reported=11,
        num_dropped=0,
        input_size=(SIDE, SIDE),
        grid=(GRID, GRID),
    )
    assert report.beats("m") == {
        "m_untrained": True,
        "m_shuffled": True,
        "mean_mask_prior": False,
        "brightness": True,
        "contrast": True,
        "median_difference": True,
    }
    assert scores["m"].standard_error == pytest.approx(base.std(ddof=1) / 11**0.5)
    with pytest.raises(ValueError, match="there is no model 'x': choose one of m"):
        report.beats("x")
