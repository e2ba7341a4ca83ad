"""Attention against masks: exact on slow references, and honest on cases with a known answer."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from crate_transformer.evaluation import MaskScore, attention_segmentation, rank_auc, top_iou
from crate_transformer.evaluation.scores import FRACTIONS, shuffled_auc, shuffled_iou
from crate_transformer.evaluation.segmentation import SegmentationReport
from crate_transformer.inspection import attention_maps, threshold_entries, untrained_twin
from crate_transformer.layers import HookPoint
from crate_transformer.models import Backbone, BackboneConfig, build_model

SIDE, PATCH, GRID = 32, 4, 8


class ChannelMeans(nn.Module):
    def forward(self, images):
        return nn.functional.avg_pool2d(images, PATCH).flatten(2).transpose(1, 2)


class LookAtChannels(nn.Module):
    """Head ``k`` attends to patches that are bright in channel ``k``; not at all before it is 'trained'."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.projection, self.attention = HookPoint(), HookPoint(), HookPoint()
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, z):
        brightness = z.transpose(1, 2)[..., None]
        self.query(torch.ones_like(brightness))
        self.projection(self.gain * brightness)
        return z


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mixer = LookAtChannels()

    def forward(self, z):
        return self.mixer(z)


class Looker(Backbone):
    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config, patch_embed=ChannelMeans(), blocks=[Block() for _ in range(config.depth)])
        nn.init.zeros_(self.pos_embed)


def looker(gain: float = 3.0) -> Looker:
    model = Looker(BackboneConfig(img_size=SIDE, patch_size=PATCH, embed_dim=3, depth=2, num_heads=3, num_classes=0))
    nn.init.constant_(model.blocks[1].mixer.gain, gain)
    return model


def squares(count: int, seed: int = 0, size: int = 8) -> torch.Tensor:
    """Masks that hold one square aligned with the grid, anywhere: 4 of 64 patches."""
    generator = torch.Generator().manual_seed(seed)
    corners = PATCH * torch.randint(0, (SIDE - size) // PATCH + 1, (count, 2), generator=generator)
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    for mask, (top, left) in zip(masks, corners.tolist(), strict=True):
        mask[top : top + size, left : left + size] = True
    return masks


def noise(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8)


def test_attention_equal_to_the_masks_scores_one_and_beats_every_control():
    masks, images = squares(60), torch.rand(60, 3, SIDE, SIDE)
    images[:, 1] = masks.float()
    report = attention_segmentation({"seer": looker()}, images, masks, noise(60))
    best = report.auc["seer"]
    assert (best.mean, best.standard_error, best.layer, best.head, best.fraction) == (1.0, 0.0, 1, 1, None)
    iou = report.miou["seer"]
    assert (iou.layer, iou.head, iou.fraction) == (1, 1, 0.05)
    assert iou.mean == pytest.approx(3 / 4)
    assert report.auc["seer_untrained"].mean == 0.5
    assert report.auc["seer_centred"].mean > 0.99
    assert report.auc["seer_shuffled"].mean < 0.7
    for cue in ("brightness", "contrast", "median_difference"):
        assert report.auc[cue].mean == pytest.approx(0.5, abs=0.12)
    for metric in ("auc", "miou"):
        statuses = report.beats("seer", metric)
        controls = ["seer_untrained", "seer_shuffled", "mean_mask_prior"]
        assert list(statuses) == [*controls, "brightness", "contrast", "median_difference"]
        assert all(statuses.values())
    assert report.layer_heads["seer"][1] == 1
    assert report.selection_auc["seer"].shape == (2, 3) and report.selection_auc["seer"].argmax() == 4
    np.testing.assert_allclose(report.layer_auc["seer"], [0.5, 1.0])
    np.testing.assert_allclose(report.layer_auc["seer_untrained"], [0.5, 0.5])
    assert (report.num_selection, report.num_reported, report.num_dropped) == (30, 30, 0)
    assert (report.input_size, report.grid) == ((SIDE, SIDE), (GRID, GRID))


def test_random_attention_is_at_chance_and_beats_nothing():
    # always the same pictures: of others one in some forty would beat a control by more than two standard errors
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(80, 3, SIDE, SIDE, generator=generator)
    pixels = torch.randint(0, 256, (80, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    report = attention_segmentation({"blind": looker()}, images, squares(80), pixels)
    assert report.auc["blind"].mean == pytest.approx(0.5, abs=0.1)
    assert not any(report.beats("blind").values())


def test_a_learned_centre_prior_is_exposed_by_shuffling_and_centring():
    masks = torch.zeros(40, SIDE, SIDE, dtype=torch.bool)
    for index, mask in enumerate(masks):
        mask[8 + 4 * (index % 3) : 20 + 4 * (index % 2), 8:24] = True
    images = torch.zeros(40, 3, SIDE, SIDE)
    axis = 1 - (torch.arange(SIDE) / (SIDE - 1) * 2 - 1) ** 2
    images[:, 2] = axis[:, None] * axis
    report = attention_segmentation({"prior": looker()}, images, masks, noise(40))
    assert report.auc["prior"].mean > 0.85
    assert report.auc["prior_shuffled"].mean == pytest.approx(report.auc["prior"].mean, abs=1e-9)
    assert report.miou["prior_shuffled"].mean == pytest.approx(report.miou["prior"].mean, abs=1e-9)
    assert report.auc["prior_centred"].mean == pytest.approx(0.5, abs=1e-9)
    assert report.beats("prior")["prior_untrained"]
    assert not report.beats("prior")["prior_shuffled"]
    assert not report.beats("prior")["mean_mask_prior"]


def test_cues_take_the_sign_that_helps_on_the_selection_images():
    masks = squares(40)
    pixels = torch.full((40, 3, SIDE, SIDE), 200, dtype=torch.uint8)
    pixels[masks[:, None].expand(-1, 3, -1, -1)] = 20
    pixels[..., ::2] += (10 * ~masks[:, None, :, ::2]).to(torch.uint8)
    report = attention_segmentation({"m": looker()}, torch.rand(40, 3, SIDE, SIDE), masks, pixels)
    assert (report.auc["brightness"].mean, report.auc["brightness"].sign) == (1.0, -1)
    assert (report.auc["contrast"].mean, report.auc["contrast"].sign) == (1.0, -1)
    assert report.miou["brightness"].mean == pytest.approx(3 / 4)
    assert not report.beats("m")["brightness"]


@pytest.mark.parametrize("family", ["crate_micro_patch4_32", "vit_micro_patch4_32"])
def test_every_row_equals_a_slow_reference(family):
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


def test_masks_that_vanish_on_the_grid_are_dropped_and_counted():
    masks = squares(20)
    masks[0] = False
    masks[1] = True
    masks[2] = False
    masks[2, 0, :2] = True
    report = attention_segmentation({"m": looker()}, torch.rand(20, 3, SIDE, SIDE), masks, noise(20))
    assert (report.num_selection + report.num_reported, report.num_dropped) == (17, 3)
    with pytest.raises(ValueError, match="too few: 20 were left out"):
        attention_segmentation({"m": looker()}, torch.rand(20, 3, SIDE, SIDE), torch.zeros_like(masks), noise(20))


def test_black_images_give_no_nan_and_the_report_is_json():
    black = torch.zeros(12, 3, SIDE, SIDE)
    models = {
        "crate": build_model("crate_micro_patch4_32", depth=1),
        "vit": build_model("vit_micro_patch4_32", depth=1),
    }
    report = attention_segmentation(models, black, squares(12), black.to(torch.uint8))
    text = json.dumps(report.to_dict(), allow_nan=False)
    saved = json.loads(text)
    assert saved["auc"]["brightness"]["mean"] == 0.5
    assert set(saved["auc"]) == set(saved["miou"])
    assert set(saved["beats"]) == {"crate", "vit"}
    assert len(saved["auc"]) == 2 * 5 + 4


def test_the_split_is_seeded_and_disjoint():
    masks, images = squares(30), torch.rand(30, 3, SIDE, SIDE)
    images[:, 0] = masks.float()
    first, again, other = (
        attention_segmentation({"m": looker()}, images, masks, noise(30), selection_fraction=0.3, seed=seed)
        for seed in (0, 0, 1)
    )
    assert (first.num_selection, first.num_reported) == (9, 21)
    np.testing.assert_array_equal(first.auc["m_shuffled"].per_image, again.auc["m_shuffled"].per_image)
    assert not np.array_equal(first.auc["m_shuffled"].per_image, other.auc["m_shuffled"].per_image)


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
    with pytest.raises(ValueError, match="no model is called 'x': there are m"):
        report.beats("x")


def test_wrong_input_is_refused_in_one_sentence():
    images, masks, pixels = torch.rand(8, 3, SIDE, SIDE), squares(8), noise(8)
    with pytest.raises(ValueError, match=r"8 images of \(32, 32\), but 8 masks of \(16, 32\)"):
        attention_segmentation({"m": looker()}, images, masks[:, :16], pixels)
    with pytest.raises(ValueError, match="but 7 pixels"):
        attention_segmentation({"m": looker()}, images, masks, pixels[:7])
    with pytest.raises(ValueError, match=r"selection_fraction is 1\.0"):
        attention_segmentation({"m": looker()}, images, masks, pixels, selection_fraction=1.0)
    with pytest.raises(ValueError, match="a 8 x 8, b 4 x 4: evaluate them separately"):
        models = {"a": looker(), "b": build_model("crate_mini_patch8_64", depth=1)}
        attention_segmentation(models, images, masks, pixels)
    with pytest.raises(ValueError, match="no model"):
        attention_segmentation({}, images, masks, pixels)
    with pytest.raises(ValueError, match="attention of 'm' is not finite"):
        attention_segmentation({"m": looker(float("nan"))}, images, masks, pixels)
