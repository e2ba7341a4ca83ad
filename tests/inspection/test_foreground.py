"""Masks from attention maps: thresholds, the choice of the head, and pictures in which there is nothing."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from skimage.filters import threshold_otsu as otsu

from crate_transformer.inspection import (
    attention_maps,
    foreground,
    map_separation,
    threshold_entries,
    threshold_mass,
    threshold_otsu,
    upsample,
)
from crate_transformer.models import build_model

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 3, "num_heads": 4, "num_classes": 4}


@pytest.fixture
def model():
    return build_model("crate_tiny_patch16_224", **TINY).eval()


@pytest.fixture
def images():
    return torch.randn(5, 3, 16, 24)


@pytest.mark.parametrize("name", ["mass_0", "mass_1"])
def test_golden_masks_in_pixels(shared, name):
    golden = load_file(shared / "golden" / "attention" / f"{name}.safetensors")
    masks = threshold_mass(golden["cls_attention"], 0.6)
    np.testing.assert_array_equal(upsample(masks, golden["mask_0.6"].shape[-2:]), golden["mask_0.6"].astype(bool))
    raised = upsample(golden["cls_attention"], golden["mask_0.6"].shape[-2:])
    np.testing.assert_array_equal(raised, golden["attention_upsampled"])


def test_upsampling_to_any_size_takes_the_patch_under_the_centre():
    grid = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(upsample(grid, (5, 7))[:, 0], [0, 0, 3, 3, 3])
    np.testing.assert_array_equal(upsample(grid, (5, 7))[0], [0, 0, 1, 1, 1, 2, 2])
    np.testing.assert_array_equal(upsample(grid, (2, 3)), grid)
    assert upsample(grid[None] > 2, (1, 1)).tolist() == [[[True]]]


@pytest.mark.parametrize("rule", ["mass", "entries", "otsu"])
def test_the_mask_is_the_thresholded_map_of_the_chosen_head(model, images, rule):
    found = foreground(model, images, layer=1, head=-1, rule=rule, fraction=0.4)
    maps = attention_maps(model, images, layers=[1], heads=[3]).maps[:, 0, 0]
    np.testing.assert_array_equal(found.maps, maps)
    slow = {
        "mass": lambda: threshold_mass(maps, 0.4),
        "entries": lambda: threshold_entries(maps, 0.4),
        "otsu": lambda: np.stack([m > otsu(m.astype(float)) for m in maps]),
    }[rule]()
    np.testing.assert_array_equal(found.masks, slow)
    np.testing.assert_array_equal(found.image_masks(), slow.repeat(4, axis=1).repeat(4, axis=2))
    assert (found.head, found.layer, found.choice) == (3, 1, "given")
    assert found.rule == {"mass": "mass 0.4", "entries": "entries 0.4", "otsu": "otsu"}[rule]
    assert not found.nothing_found.any()


def test_without_labels_the_head_with_the_clearest_maps_is_chosen(model, images):
    found = foreground(model, images, layer=2)
    maps = attention_maps(model, images, layers=[2]).maps[:, 0].astype(np.float64)
    for head, value in enumerate(found.separation):
        shares = []
        for one in maps[:, head]:
            bright = one > otsu(one)
            between = np.where(bright, one[bright].mean(), one[~bright].mean()).var()
            shares.append(between / one.var())
        assert value == pytest.approx(np.mean(shares), rel=1e-9)
    assert found.head == found.separation.argmax()
    assert "variance" in found.choice


def test_with_labels_the_head_with_the_best_masks_is_chosen(model, images):
    for wanted in range(4):
        truth = torch.from_numpy(foreground(model, images, head=wanted).image_masks())
        truth[0] = False
        found = foreground(model, images[:2], labelled=(images, truth))
        assert found.head == wanted
        assert "1.000" in found.choice


def test_separation_of_simple_maps():
    two = np.array([[[0.0, 1.0], [0.0, 0.0]]])
    assert map_separation(two) == pytest.approx([1.0])
    assert map_separation(np.full((2, 3, 3), 0.2)).tolist() == [0, 0]
    assert 0.5 < map_separation(np.arange(100.0).reshape(10, 10)) < 0.8
    assert not threshold_otsu(np.full((1, 3, 3), 0.2)).any()
    assert threshold_otsu(np.zeros((0, 3, 3))).shape == (0, 3, 3)


@pytest.mark.parametrize("rule", ["mass", "entries", "otsu"])
def test_pictures_of_one_colour_and_single_patches_give_empty_masks(model, images, rule):
    images[1], images[2] = 0, torch.tensor([0.1, -0.5, 2.0])[:, None, None]
    found = foreground(model, images, rule=rule)
    assert found.nothing_found.tolist() == [False, True, True, False, False]
    assert not found.masks[1:3].any()
    single = foreground(model, images[:, :, :4, :4], rule=rule)
    assert single.nothing_found.all()
    assert np.isfinite(single.separation).all()


def test_a_map_without_contrast_gives_an_empty_mask(model, images):
    with torch.no_grad():
        model.blocks[-1].mssa.subspaces.weight.zero_()
    found = foreground(model, images)
    assert found.nothing_found.all()


def test_bad_input_is_named_with_the_remedy(model, images):
    labelled = (images, torch.ones(5, 16, 24, dtype=torch.bool))
    for options, message in (
        ({"head": 4}, "no head 4.*heads 0 to 3"),
        ({"layer": 3}, "no layer 3.*layers 0 to 2"),
        ({"head": 1, "labelled": labelled}, "give one of them"),
        ({"labelled": (images, labelled[1][:3])}, r"shape \(3, 16, 24\).*5 images"),
        ({"labelled": (images, ~labelled[1])}, "all labelled masks are empty"),
        ({"fraction": 0.0}, "fraction is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            foreground(model, images, **options)
