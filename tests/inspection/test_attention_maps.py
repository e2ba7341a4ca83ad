"""Attention maps, thresholds and head summaries against slow references and the golden data."""

import itertools
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from crate_transformer.inspection import (
    attention_maps,
    attention_rollout,
    head_summary,
    record,
    threshold_entries,
    threshold_mass,
)
from crate_transformer.models import build_model

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 3, "num_heads": 2, "num_classes": 4}
FAMILIES = ["crate_tiny_patch16_224", "vit_tiny_patch16_224", "cbt_tiny_patch16_224"]


@pytest.fixture(params=FAMILIES)
def model(request):
    return build_model(request.param, **TINY).eval()


def full_maps(model, images):
    """Every map of every layer and head, ``(images, layers, heads, tokens, tokens)``; of CBSA the products."""
    contracts = hasattr(model.blocks[0], "attn") and hasattr(model.blocks[0].attn, "coefficients")
    with record(model, f"blocks.*.*.{'coefficients' if contracts else 'attention'}") as seen:
        model(images)
    maps = torch.stack(list(seen.values()), dim=1).detach()
    maps = maps @ maps.mT if contracts else maps
    return maps / maps.sum(dim=-1, keepdim=True)


def over_patches(rows):
    return (rows / rows.sum(dim=-1, keepdim=True)).unflatten(-1, (4, 8)).numpy()


REGION = [(0, 0), (3, 7), (2, 1)]


@pytest.mark.parametrize("query", ["cls", (0, 6), REGION, "mask"])
def test_maps_are_the_renormalised_rows_of_the_query(model, query, monkeypatch):
    monkeypatch.setattr("crate_transformer.inspection.attention._MAX_TOKENS", 64)
    monkeypatch.setattr("crate_transformer.inspection.attention._MAX_ENTRIES", 2 * 2 * 32 * 2)
    images = torch.randn(5, 3, 16, 32, dtype=torch.float64)
    patches = full_maps(model.double(), images)[..., 1:]
    tokens = {"cls": [0], "(0, 6)": [7]}.get(str(query), [1, 32, 18])
    if query == "mask":
        query = np.zeros((4, 8), dtype=bool)
        query[[0, 3, 2], [0, 7, 1]] = True
    expected = np.mean([over_patches(patches[..., token, :]) for token in tokens], axis=0)
    found = attention_maps(model, images, query=query)
    assert (found.layers, found.heads) == ((0, 1, 2), (0, 1))
    np.testing.assert_allclose(found.maps, expected, atol=1e-12, rtol=0)


def test_the_query_is_told():
    model, images = build_model(FAMILIES[0], **TINY), torch.randn(1, 3, 16, 16)
    told = [attention_maps(model, images, query=query).query for query in ("cls", (1, 2), [(1, 2), (0, 0)])]
    assert told == ["class token", "patch (1, 2)", "region of 2 patches"]


def test_registers_are_no_patches_and_half_precision_gives_finite_maps():
    model = build_model(FAMILIES[1], **TINY, reg_tokens=3).eval()
    images = torch.randn(2, 3, 16, 32)
    patches = full_maps(model, images)[..., 4:]
    found = attention_maps(model, images, query=(0, 1))
    np.testing.assert_allclose(found.maps, over_patches(patches[..., 5, :]), atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = attention_maps(model, images, query=(0, 1)).maps
    assert rough.dtype == np.float32
    np.testing.assert_allclose(rough, found.maps, atol=1e-2)


def test_layers_and_heads_may_be_negative_and_in_any_order(model):
    images = torch.randn(2, 3, 16, 16)
    everything = attention_maps(model, images)
    some = attention_maps(model, images, layers=[-1, 0, 2], heads=[-1])
    assert (some.layers, some.heads) == ((2, 0, 2), (1,))
    np.testing.assert_allclose(some.maps, everything.maps[:, [2, 0, 2]][:, :, [1]], atol=1e-6)


def test_blocks_after_the_last_layer_asked_for_do_not_run():
    model, ran = build_model(FAMILIES[0], **TINY), []
    for layer, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
    attention_maps(model, torch.randn(1, 3, 16, 16), layers=[1])
    assert ran == [0, 1]


def test_what_does_not_exist_is_named_with_what_does():
    model = build_model(FAMILIES[0], **TINY)
    images = torch.randn(2, 3, 16, 32)
    for options, message in (
        ({"layers": [0, 3]}, "no layer 3.*0 to 2"),
        ({"layers": [-4]}, "no layer -4"),
        ({"layers": []}, "no layer was given"),
        ({"heads": [2]}, "no head 2.*heads 0 to 1"),
        ({"query": (4, 0)}, r"no patch \(4, 0\).*rows go from 0 to 3, columns from 0 to 7"),
        ({"query": [(0, 0), (0, -1)]}, "no patch"),
        ({"query": np.zeros((4, 8), dtype=bool)}, "region is empty"),
        ({"query": np.ones((8, 4), dtype=bool)}, r"mask of \(8, 4\), but the token grid is 4 x 8"),
    ):
        with pytest.raises(ValueError, match=message):
            attention_maps(model, images, **options)
    with pytest.raises(ValueError, match="at least one image"):
        attention_maps(model, images[:0])
    with pytest.raises(ValueError, match="queries and keys of Linear cannot be read"):
        attention_maps(torch.nn.Linear(2, 2), images)


def test_rollout_is_the_product_of_the_mixed_maps(model, monkeypatch):
    monkeypatch.setattr("crate_transformer.inspection.attention._MAX_ENTRIES", 2 * 33 * 5)
    images = torch.randn(2, 3, 16, 32, dtype=torch.float64)
    mixed = (torch.eye(33) + full_maps(model.double(), images).mean(dim=2)) / 2
    product = mixed[:, 2] @ mixed[:, 1] @ mixed[:, 0]
    for query, rows in (("cls", product[:, :1]), (REGION, product[:, [1, 32, 18]])):
        expected = over_patches(rows.mean(dim=1)[:, 1:])
        np.testing.assert_allclose(attention_rollout(model, images, query=query), expected, atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match="at least one image"):
        attention_rollout(model, images[:0])


@pytest.mark.parametrize("family", FAMILIES)
def test_black_images_give_finite_maps(family):
    maps = attention_maps(build_model(family, **TINY), torch.zeros(1, 3, 16, 16)).maps
    np.testing.assert_allclose(maps.sum(axis=(-2, -1)), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["mass_0", "mass_1"])
def test_mass_threshold_equals_the_golden_masks(shared, name):
    tensors = load_file(shared / "golden" / "attention" / f"{name}.safetensors")
    attention = tensors["cls_attention"]
    for fraction in (0.6, 0.9, 0.3):
        for maps in (attention, attention / attention.sum(axis=(-2, -1), keepdims=True), attention.astype(np.float64)):
            np.testing.assert_array_equal(threshold_mass(maps, fraction), tensors[f"grid_mask_{fraction}"].astype(bool))


def test_both_thresholds_equal_the_golden_protocol(shared):
    folder = shared / "golden" / "segmentation"
    tensors = load_file(folder / "protocol.safetensors")
    masks = {
        "entries": threshold_entries(tensors["maps"], 0.6),
        "mass": threshold_mass(tensors["maps"], 0.6),
    }
    results = json.loads((folder / "protocol.json").read_text())
    for reading, found in masks.items():
        np.testing.assert_array_equal(found, tensors[f"masks_{reading}_0.6"].astype(bool))
        per_image = []
        for image, labels in enumerate(tensors["labels"]):
            classes = sorted(set(labels.ravel().tolist()) - {0, 255})
            best = [max(iou(mask, labels == c) for mask in found[image]) for c in classes]
            per_image.append(np.mean(best))
        assert np.mean(per_image) == pytest.approx(results[f"{reading}_0.6"]["miou"], abs=1e-12)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_ties_go_to_the_later_entry_and_counts_are_exact():
    flat = np.array([[[0.25, 0.25], [0.25, 0.25]]])
    np.testing.assert_array_equal(threshold_entries(flat, 0.5), [[[False, False], [True, True]]])
    np.testing.assert_array_equal(threshold_mass(flat, 0.5), [[[False, False], [True, True]]])
    np.testing.assert_array_equal(threshold_mass(flat, 0.6), [[[False, True], [True, True]]])
    coarse = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.float32)
    for fraction in (0.01, 0.1, 0.5, 1.0):
        kept = threshold_entries(coarse, fraction)
        assert (kept.sum(axis=(1, 2)) == max(1, round(fraction * 30))).all()
        for values, mask in zip(coarse, kept, strict=True):
            assert mask.all() or values[mask].min() >= values[~mask].max()


def test_a_map_of_zeros_has_no_mass():
    assert not threshold_mass(np.zeros((2, 3, 3)), 0.6).any()


@pytest.mark.parametrize("fraction", [0.0, 1.5, -0.1])
def test_a_fraction_outside_its_range_is_refused(fraction):
    for threshold in (threshold_mass, threshold_entries):
        with pytest.raises(ValueError, match=f"fraction is {fraction}"):
            threshold(np.ones((2, 2)), fraction)


@pytest.mark.parametrize("family", FAMILIES)
def test_head_summary_equals_a_slow_loop(family):
    model, control = (build_model(family, **TINY).eval() for _ in range(2))
    images = torch.randn(4, 3, 16, 16)
    summary = head_summary(model, images, layer=-2, untrained=control)
    assert summary.layer == 1
    consistency, entropy, shuffled, mean_map = slow_summary(model, images)
    np.testing.assert_allclose(summary.consistency, consistency, atol=1e-5)
    np.testing.assert_allclose(summary.shuffled_consistency, shuffled, atol=1e-5)
    np.testing.assert_allclose(summary.entropy, entropy, atol=1e-5)
    np.testing.assert_allclose(summary.mean_map, mean_map, atol=1e-6)
    np.testing.assert_allclose(summary.untrained_consistency, slow_summary(control, images)[0], atol=1e-5)
    with pytest.raises(ValueError, match="at least two images"):
        head_summary(model, images[:1])


def slow_summary(model, images):
    with record(model, "blocks.1.*.projection") as seen:
        model(images)
    (projection,) = seen.values()
    patches = projection[:, :, 1:].numpy()
    maps = attention_maps(model, images, layers=[1]).maps[:, 0]
    consistency, entropy, shuffled = [], [], []
    for head in range(2):
        features = patches[:, head] - patches[:, head].reshape(-1, 6).mean(axis=0)
        weights = maps[:, head].reshape(4, 16)
        consistency.append(mean_cosine([w @ f for w, f in zip(weights, features, strict=True)]))
        shuffled.append(mean_cosine([weights[i - 1] @ features[i] for i in range(4)]))
        entropy.append(np.mean([-(w * np.log(w)).sum() for w in weights]) / np.log(16))
    return consistency, entropy, shuffled, maps.mean(axis=0)


def mean_cosine(vectors):
    pairs = itertools.combinations(vectors, 2)
    return np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs])
