"""The layer-wise objective equals the official measurement, and always carries its control."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.inspection import energy_steps, layer_steps, layerwise_objective, record, untrained_twin
from crate_transformer.inspection.steps import descent
from crate_transformer.layers import ISTA, ODL, capture
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


FAMILIES = ["crate_tiny_patch16_224", "vit_tiny_patch16_224", "crate_alpha_tiny_patch16_224"]


def slow_rate(block, z, normalisation):
    """R and R^c of one image at these tokens, by determinants, head by head."""
    tokens = block.norm1(z)
    length = tokens.norm(dim=-1, keepdim=True)
    is_vit = hasattr(block, "attn")
    projected = block.attn.qkv(tokens).chunk(3, dim=-1)[1] if is_vit else block.mssa.subspaces(tokens)
    whole = tokens if normalisation == "none" else tokens / length
    rates = []
    for part in projected.split(6, dim=-1):
        if normalisation == "head":
            part = part / part.norm(dim=-1, keepdim=True)
        elif normalisation == "token":
            part = part / length
        rates.append(log_det(part))
    return log_det(whole), sum(rates)


def log_det(z):
    tokens, dim = z.shape
    return torch.logdet(torch.eye(dim) + dim / (tokens * 0.01) * z.T @ z) / 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("normalisation", ["head", "token", "none"])
def test_every_place_and_normalisation_equals_a_slow_reference(family, normalisation):
    model = build_model(family, **TINY).double().eval()
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = {"input": np.empty((2, 2, 3)), "half": np.empty((2, 2, 3))}
    with torch.inference_mode(), record(model, "blocks.*.z_half") as halves:
        model(images)
        z = model.embed(images)
        for layer, block in enumerate(model.blocks):
            for place, tokens in (("input", z), ("half", halves[f"blocks.{layer}.z_half"])):
                for image in range(2):
                    expected[place][:, image, layer] = slow_rate(block, tokens[image], normalisation)
            z = block(z)
    for place, (rate, subspace_rate) in expected.items():
        seen = layerwise_objective(model, images, place=place, normalisation=normalisation, rates=True)
        assert (seen.place, seen.normalisation) == (place, normalisation)
        np.testing.assert_allclose(seen.subspace_rate, subspace_rate, rtol=1e-9)
        np.testing.assert_allclose(seen.rate, rate, rtol=1e-9)
        np.testing.assert_allclose(seen.rate_reduction, rate - subspace_rate, rtol=1e-6)
        assert seen.untrained_rate_reduction.shape == (2, 3)
    steps = layer_steps(model, images, normalisation=normalisation)
    np.testing.assert_allclose(steps.trained.rate_before, expected["input"][1], rtol=1e-9)
    np.testing.assert_allclose(steps.trained.rate_after, expected["half"][1], rtol=1e-9)
    share = (expected["half"][1] < expected["input"][1]).mean(axis=0)
    np.testing.assert_array_equal(steps.trained.compressing, share)


def test_without_rates_there_is_no_reduction_and_sparsity_of_odl_is_that_of_its_code():
    model = build_model(FAMILIES[2], **TINY).eval()
    images = torch.randn(2, 3, 16, 16)
    seen = layerwise_objective(model, images)
    assert seen.rate is seen.rate_reduction is seen.untrained_rate_reduction is None
    with record(model, "blocks.*.odl.code") as codes:
        model(images)
    shares = [(code != 0).float().mean(dim=(1, 2)).numpy() for code in codes.values()]
    np.testing.assert_allclose(seen.nonzero.T, shares, rtol=1e-6)
    assert (seen.nonzero < 0.9).all()


@pytest.mark.parametrize("family", FAMILIES[::2])
def test_the_sparse_step_equals_a_slow_reference_from_its_feasible_start(family):
    model = build_model(family, **TINY, step_size=0.05).double().eval()
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    found = layer_steps(model, images.split(2)).trained.sparse
    step, num_steps = ("ista", 1) if family == FAMILIES[0] else ("odl", 2)
    with (
        torch.inference_mode(),
        record(model, "blocks.*.norm2", "blocks.*.ista" if step == "ista" else "*.*.odl.code") as seen,
    ):
        model(images)
    for layer, block in enumerate(model.blocks):
        z, code = (value for name, value in seen.items() if name.startswith(f"blocks.{layer}."))
        dictionary = getattr(block, step).dictionary.detach()
        start = z if step == "ista" else torch.zeros_like(code)
        before, after = (
            0.5 * (z - some @ dictionary.T).pow(2).sum(-1) + 0.1 * some.sum(-1) for some in (start.clamp(min=0), code)
        )
        bound = before + start.clamp(max=0).pow(2).sum(-1) / (2 * 0.05 * num_steps)
        expected = {
            "before": before,
            "after": after,
            "bound": bound,
            "lowered": (after < before).double(),
            "bounded": (after <= bound).double(),
        }
        for name, values in expected.items():
            np.testing.assert_allclose(getattr(found, name)[:, layer], values.mean(-1), rtol=1e-10)
        norm = np.linalg.svd(dictionary.numpy(), compute_uv=False).max() ** 2
        assert found.squared_norm[layer] == pytest.approx(norm) and found.inverse_step[layer] == pytest.approx(20)


@pytest.mark.parametrize("make", [ISTA, ODL])
@pytest.mark.parametrize("weight", [0.0, 0.2, 3.0])
def test_small_proximal_steps_keep_their_bound_whatever_the_token(make, weight):
    for seed in range(20):
        torch.manual_seed(seed)
        layer = make(8, sparsity_weight=weight).double()
        layer.step_size = 0.9 / torch.linalg.matrix_norm(layer.dictionary.detach(), 2).item() ** 2
        z = torch.randn(4, 50, 8, dtype=torch.float64) * 10.0 ** (seed % 5 - 2)
        with torch.no_grad(), capture([layer.code] if make is ODL else []) as codes:
            out = layer(z)
        found = descent(layer, z, codes[0] if codes else out)
        assert found["bounded"].all()
        if make is ODL:
            torch.testing.assert_close(found["bound"], found["before"], rtol=0, atol=0)


def test_too_long_a_step_breaks_the_bound():
    layer = ISTA(1, step_size=3.0, sparsity_weight=0.0).double()
    torch.nn.init.constant_(layer.dictionary, 2.0)
    z = -torch.ones(1, 1, 1, dtype=torch.float64)
    code = layer(z).detach()
    assert code.item() == 5 and descent(layer, z, code)["bounded"].item() == 0


@pytest.mark.parametrize("family", [*FAMILIES, "tost_tiny_patch16_224", "cbt_tiny_patch16_224"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_models_of_every_precision_are_measured(family, dtype):
    options = TINY | ({"patch_size": 8} if "tost" in family else {})
    torch.manual_seed(0)
    model = build_model(family, **options).eval()
    images = torch.randn(3, 3, 16, 16)
    expected = layer_steps(model, images).trained, layerwise_objective(model, images, rates=True)
    model.to(dtype)
    steps, objective = layer_steps(model, images).trained, layerwise_objective(model, images, rates=True)
    wanted = np.float64 if dtype is torch.float64 else np.float32
    assert steps.rate_after.dtype == objective.rate.dtype == wanted
    tolerance = {"rtol": 0.05 if dtype is torch.bfloat16 else 1e-4}
    np.testing.assert_allclose(steps.rate_after, expected[0].rate_after, **tolerance)
    np.testing.assert_allclose(objective.subspace_rate, expected[1].subspace_rate, **tolerance)
    np.testing.assert_allclose(objective.rate, expected[1].rate, **tolerance)
    if steps.sparse:
        np.testing.assert_allclose(steps.sparse.after, expected[0].sparse.after, **tolerance)


def test_a_vit_has_no_lasso_objective_and_unknown_choices_are_refused():
    model, images = build_model(FAMILIES[1], **TINY), torch.randn(1, 3, 16, 16)
    steps = layer_steps(model, images)
    assert steps.trained.sparse is steps.untrained.sparse is None
    assert not steps.derived and layer_steps(build_model(FAMILIES[0], **TINY), images).derived
    with pytest.raises(ValueError, match="place is 'end'"):
        layerwise_objective.__wrapped__(model, images, place="end")
    with pytest.raises(ValueError, match="normalisation is 'all': choose one of head, token, none"):
        layer_steps.__wrapped__(model, images, normalisation="all")
    with pytest.raises(ValueError, match="at least one image"):
        layer_steps(model, images[:0])


@pytest.mark.parametrize(
    ("measure", "family", "weight"),
    [
        (layerwise_objective, FAMILIES[0], "blocks.1.norm1.weight"),
        (layerwise_objective, FAMILIES[1], "blocks.2.mlp.fc2.weight"),
        (layer_steps, FAMILIES[0], "blocks.1.norm1.weight"),
        (layer_steps, FAMILIES[0], "blocks.2.ista.dictionary"),
        (energy_steps, "hyper_set_512_patch14_224", "blocks.2.ff.dictionary.weight"),
    ],
)
def test_nan_is_refused(measure, family, weight):
    """Comparisons with NaN are false, and NaN is not zero: layers would seem to lower nothing, and tokens dense."""
    model = build_model(family, **TINY)
    model.get_parameter(weight).data.flatten()[0] = torch.nan
    with pytest.raises(ValueError, match="what was measured is not finite: the model's weights"):
        measure(model, torch.randn(2, 3, 16, 16))
