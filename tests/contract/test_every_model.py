"""What every registered model must do, at toy size."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.layers import HookPoint
from crate_transformer.models import MODELS

SMALL = {"img_size": 16, "patch_size": 4, "depth": 2, "num_classes": 5}
KINDS = {
    (model_class, dataclasses.replace(config, **SMALL, embed_dim=48, num_heads=4)): name
    for name, (model_class, config) in sorted(MODELS.items(), key=lambda item: -item[1][1].num_heads)
}
"""One of the models that differ in their sizes alone: tests/models/test_models_page.py builds each of them."""
every_model = pytest.mark.parametrize("name", sorted(KINDS.values()))
PATCHES = {name: entry for name, entry in MODELS.items() if getattr(entry[1], "stem", "patch") == "patch"}
CLASSES = {model_class: name for name, (model_class, _) in PATCHES.items()}
every_class = pytest.mark.parametrize("name", CLASSES.values())


def toy(name, **changes):
    """The registered architecture, narrow and shallow, with parameters away from symmetric initial values."""
    model_class, config = MODELS[name]
    model = model_class(dataclasses.replace(config, **SMALL | {"embed_dim": 4 * config.num_heads} | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@every_model
@pytest.mark.parametrize("global_pool", ["token", "avg"])
def test_forward_and_backward_are_finite_and_reach_every_parameter(name, global_pool):
    model = toy(name, global_pool=global_pool)
    logits = model(torch.randn(3, 3, 16, 16))
    assert logits.shape == (3, 5)
    assert logits.isfinite().all()
    F.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    for key, parameter in model.named_parameters():
        if key.startswith(model.not_in_logits):  # reached by another method, which the model's own test runs
            assert parameter.grad is None, key
            continue
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


@every_model
@pytest.mark.parametrize("size", [(24, 12), (4, 32)])
def test_other_and_non_square_sizes(name, size):
    model = toy(name).eval()
    with torch.no_grad():
        assert model.forward_features(torch.randn(2, 3, *size)).shape[1] == size[0] * size[1] // 16 + 1
        assert model(torch.randn(2, 3, *size)).isfinite().all()


@every_model
def test_images_of_a_batch_do_not_touch_each_other(name):
    model, images = toy(name).eval(), torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model(images)[2:3], model(images[2:3]), rtol=1e-4, atol=1e-5)


@every_model
def test_save_and_load_give_the_same_logits(name, tmp_path):
    model, images = toy(name, img_size=(16, 24)).eval(), torch.randn(2, 3, 16, 24)
    loaded = load_checkpoint(save_checkpoint(model, tmp_path / "saved"))
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))


@every_model
def test_every_hook_point_fires_once_and_hooks_change_nothing(name):
    model, images = toy(name).eval(), torch.randn(2, 3, 16, 16)
    points = {key: module for key, module in model.named_modules() if isinstance(module, HookPoint)}
    points = {key: point for key, point in points.items() if not key.startswith(model.not_in_logits)}
    assert len(points) >= 3 * len(model.blocks)
    fired = []
    with torch.no_grad():
        silent = model(images)
        handles = [
            point.register_forward_hook(lambda _, a, out, key=key: fired.append(key)) for key, point in points.items()
        ]
        torch.testing.assert_close(model(images), silent, rtol=1e-4, atol=1e-5)
    for handle in handles:
        handle.remove()
    assert sorted(fired) == sorted(points)


@every_model
def test_a_copy_is_independent(name):
    model, images = toy(name).eval(), torch.randn(2, 3, 16, 16)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        before = model(images)
        assert torch.equal(twin(images), before)
        for parameter in twin.parameters():
            parameter.zero_()
        assert torch.equal(model(images), before)


@every_model
def test_bf16_autocast_trains(name):
    model, images = toy(name), torch.randn(3, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(images)
        loss = F.cross_entropy(logits.float(), torch.tensor([0, 1, 2]))
    loss.backward()
    assert all(p.grad.isfinite().all() for k, p in model.named_parameters() if not k.startswith(model.not_in_logits))
    with torch.no_grad():
        torch.testing.assert_close(logits.float(), model(images), rtol=0.1, atol=0.1)


@every_class
def test_folding_for_inference_changes_nothing_but_the_arithmetic(name, tmp_path):
    model, images = toy(name).eval().double(), torch.randn(9, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        before = model(images)
        folded = model.fold()
        torch.testing.assert_close(folded(images), before, rtol=1e-12, atol=1e-12)
        for parameter in model.parameters():
            parameter.zero_()
        torch.testing.assert_close(folded(images), before, rtol=1e-12, atol=1e-12)
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    with pytest.raises(ValueError, match="save the original model"):
        save_checkpoint(folded, tmp_path / "folded")
