"""Attention against masks: what is known of cases with a known answer, and what is refused."""

import json

import numpy as np
import pytest
import torch
from squares import GRID, PATCH, SIDE, noise, squares
from torch import nn

from crate_transformer.data import normalise
from crate_transformer.evaluation import attention_segmentation, attention_with_controls
from crate_transformer.layers import AttentionRows, HookPoint
from crate_transformer.models import Backbone, BackboneConfig, build_model


class ChannelMeans(nn.Module):
    def forward(self, images):
        return nn.functional.avg_pool2d(images, PATCH).flatten(2).transpose(1, 2)


class LookAtChannels(nn.Module):
    """Head ``k`` attends to patches that are bright in channel ``k``; not at all before it is 'trained'."""

    rows = AttentionRows(query="query", key="projection")

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
    attention, lowers_rate, sparse_code, sparse_step = "mixer", False, None, None

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.mixer, self.z_half = nn.Identity(), LookAtChannels(), HookPoint()

    def project(self, tokens):
        return tokens.transpose(1, 2)[..., None]

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


def test_undecided_pixels_are_not_scored_and_inverted_heads_count_if_asked():
    masks = squares(60)
    undecided = torch.zeros_like(masks)
    undecided[:, :, : SIDE // 2] = True  # half of each image, where the head is wrong
    right = masks & ~undecided
    images = torch.rand(60, 3, SIDE, SIDE)
    images[:, 1] = (right | (undecided & ~masks)).float()
    shown = right.any(dim=(1, 2))
    found = attention_segmentation({"seer": looker()}, images, masks & ~undecided, noise(60), undecided=undecided)
    assert found.auc["seer"].mean == 1.0 and found.auc["seer"].head == 1
    assert found.num_dropped == int((~shown).sum()) > 0
    images[:, 1] = 1 - images[:, 1]
    options = {"undecided": undecided, "signs": True}
    found = attention_segmentation({"seer": looker()}, images, masks & ~undecided, noise(60), **options)
    assert (found.auc["seer"].mean, found.auc["seer"].head, found.auc["seer"].sign) == (1.0, 1, -1)
    assert found.miou["seer"].sign == -1 and found.miou["seer"].mean > 2 * found.miou["seer_shuffled"].mean
    assert found.selection_auc["seer"][1, 1] == 0.0
    assert all(found.beats("seer").values())


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


def test_masks_that_vanish_on_the_grid_are_dropped_and_counted():
    masks = squares(20)
    masks[0] = False
    masks[1] = True
    masks[2] = False
    masks[2, 0, :2] = True
    report = attention_segmentation({"m": looker()}, torch.rand(20, 3, SIDE, SIDE), masks, noise(20))
    assert (report.num_selection + report.num_reported, report.num_dropped) == (17, 3)
    with pytest.raises(ValueError, match="too few: 20 were excluded"):
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


def test_maps_that_are_given_are_those_that_would_be_computed():
    model, masks, pixels = looker(), squares(24), noise(24)
    images = normalise(pixels, model.preprocessing)
    maps = list(attention_with_controls(model, pixels, seed=1))
    computed = attention_segmentation({"m": model}, images, masks, pixels, seed=1)
    given = attention_segmentation({"m": model}, images, masks, pixels, maps=maps, seed=1)
    for row in ("m", "m_untrained", "m_shuffled", "m_centred"):
        np.testing.assert_allclose(given.auc[row].per_image, computed.auc[row].per_image, atol=1e-3)
    for others in ({"selection": (images, masks, pixels)}, {"models": {"m": model, "n": model}}):
        arguments = {"models": {"m": model}, **others}
        with pytest.raises(ValueError, match="maps are of one model and of the images"):
            attention_segmentation(**arguments, images=images, masks=masks, pixels=pixels, maps=maps)


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
