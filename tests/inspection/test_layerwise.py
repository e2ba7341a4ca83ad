"""The layer-wise objective equals the official measurement, and always carries its control."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.inspection import layerwise_objective, untrained_twin
from crate_transformer.models import build_model

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 2, "num_classes": 4}


def pair(size):
    return tuple(size) if isinstance(size, list) else size


@pytest.mark.parametrize("name", ["cls", "identity", "mean", "rect", "rectpatch_gray"])
def test_equals_the_official_measurement(shared, name):
    golden = shared / "golden"
    entries = json.loads((golden / "index.json").read_text())["entries"]
    (entry,) = (e for e in entries if e["name"] == f"layerwise_crate_{name}")
    config = entry["config"]
    model = load_checkpoint(
        golden / entry["files"]["checkpoint"],
        num_heads=config["heads"],
        step_size=config["eta"],
        global_pool={"cls": "token", "mean": "avg"}[config["pool"]],
        img_size=pair(config["image_size"]),
        patch_size=pair(config["patch_size"]),
    )
    tensors = load_file(golden / entry["files"]["tensors"])
    for kind, tolerance, zeros in (("", 1e-4, ""), ("_float64", 1e-10, "_from_float64_model")):
        if kind:
            model.double()
        seen = layerwise_objective(model, tensors["input"].to(model.pos_embed.dtype))
        expected = {key: tensors[f"coding_rate_{key}{kind}"].numpy() for key in ("mean", "std", "per_image")}
        np.testing.assert_allclose(seen.subspace_rate.T, expected["per_image"], atol=tolerance, rtol=0)
        np.testing.assert_allclose(seen.mean("subspace_rate"), expected["mean"], atol=tolerance, rtol=0)
        np.testing.assert_allclose(seen.spread("subspace_rate"), expected["std"], atol=tolerance, rtol=0)
        fraction = {key: tensors[f"zero_fraction_{key}{zeros}"].numpy() for key in ("mean", "std", "per_image")}
        exactness = 1e-7 if not kind else 1e-12
        np.testing.assert_allclose(1 - seen.nonzero.T, fraction["per_image"], atol=exactness, rtol=0)
        np.testing.assert_allclose(1 - seen.mean("nonzero"), fraction["mean"], atol=exactness, rtol=0)
        np.testing.assert_allclose(seen.nonzero.std(axis=0), fraction["std"], atol=exactness, rtol=0)
        assert seen.layers == tuple(range(config["depth"]))


def test_the_control_is_measured_by_the_same_rule():
    torch.manual_seed(7)
    model = build_model("crate_tiny_patch16_224", **TINY).eval()
    images = torch.randn(5, 3, 16, 16)
    seen = layerwise_objective(model, images)
    twin = layerwise_objective(untrained_twin(model), images, untrained=model)
    np.testing.assert_array_equal(seen.untrained_subspace_rate, twin.subspace_rate)
    np.testing.assert_array_equal(seen.untrained_nonzero, twin.nonzero)
    np.testing.assert_array_equal(seen.subspace_rate, twin.untrained_subspace_rate)
    assert not np.allclose(seen.subspace_rate, twin.subspace_rate)


def test_batches_and_pairs_with_labels_give_the_same(monkeypatch):
    model = build_model("crate_tiny_patch16_224", **TINY).train()
    images = torch.randn(7, 3, 16, 16)
    at_once = layerwise_objective(model, images)
    in_batches = layerwise_objective(model, iter(images.split(3)))
    with_labels = layerwise_objective(model, [(images[:2], torch.zeros(2)), (images[2:], torch.zeros(5))])
    assert at_once.subspace_rate.shape == at_once.nonzero.shape == (7, 3)
    for other in (in_batches, with_labels):
        np.testing.assert_allclose(other.subspace_rate, at_once.subspace_rate, atol=1e-5)
        np.testing.assert_array_equal(other.nonzero, at_once.nonzero)
    assert model.training


def test_vit_has_keys_and_no_zeros():
    seen = layerwise_objective(build_model("vit_tiny_patch16_224", **TINY), torch.randn(1, 3, 16, 16))
    assert (seen.nonzero > 0.99).all()
    assert (seen.subspace_rate > 0).all()
    np.testing.assert_array_equal(seen.spread("nonzero"), np.zeros(3))


def test_no_images_and_wrong_error_are_refused():
    model = build_model("crate_tiny_patch16_224", **TINY)
    for nothing in ([], torch.zeros(0, 3, 16, 16)):
        with pytest.raises(ValueError, match="at least one image"):
            layerwise_objective(model, nothing)
    with pytest.raises(ValueError, match=r"epsilon_squared is 0\.0"):
        layerwise_objective(model, torch.zeros(1, 3, 16, 16), epsilon_squared=0.0)


def test_the_untrained_twin_leaves_the_random_state_and_differs_from_the_model():
    torch.manual_seed(7)
    model = build_model("crate_tiny_patch16_224", **TINY).double().train()
    before = torch.get_rng_state()
    twin = untrained_twin(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert type(twin) is type(model)
    assert twin.config == model.config
    assert not twin.training
    assert twin.pos_embed.dtype == torch.float64
    assert torch.equal(untrained_twin(model).pos_embed, twin.pos_embed)
    assert not torch.equal(untrained_twin(model, seed=1).pos_embed, twin.pos_embed)
    assert not torch.equal(twin.pos_embed, model.pos_embed)
    assert model.training
