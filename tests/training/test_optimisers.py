"""Which parameters move how, against the update rules written out."""

import dataclasses

import pytest
import torch

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.models import MODELS, ViT, ViTConfig, build_model
from crate_transformer.training.optimisers import build_optimizers
from crate_transformer.training.tasks.classification import Classification

RATE, DECAY = 0.01, 0.2
SETTINGS = {"learning_rate": RATE, "matrix_learning_rate": 0.03, "weight_decay": DECAY, "betas": (0.9, 0.98)}


def optimizers_of(model, config):
    return build_optimizers(Classification(ClassificationConfig(), model, AugmentConfig()), config, "no")


@pytest.fixture
def model():
    tiny = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2, "num_classes": 3}
    model = build_model("crate_micro_patch4_32", **tiny)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model


def before_and_after(model, optimizer, rounds=1):
    optimizers = optimizers_of(model, OptimiserConfig(optimizer=optimizer, **SETTINGS))
    old = {name: parameter.detach().double().clone() for name, parameter in model.named_parameters()}
    for _ in range(rounds):
        for stepper in optimizers:
            stepper.step()
    return [(name, old[name], p.detach().double(), p.grad.double()) for name, p in model.named_parameters()]


def decay_of(name, values):
    return DECAY if values.ndim >= 2 and name not in ("pos_embed", "cls_token") else 0.0


@pytest.mark.parametrize("name", sorted(MODELS))
def test_only_linear_maps_decay(name):
    model_class, config = MODELS[name]
    small = {"img_size": 8, "patch_size": 4, "embed_dim": 4 * config.num_heads, "depth": 1, "num_classes": 3}
    model = model_class(dataclasses.replace(config, **small))
    model.not_in_logits = ()  # so that a decoder learns too
    (optimizer,) = optimizers_of(model, OptimiserConfig(optimizer="adamw", weight_decay=DECAY))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    spared = {name for name, parameter in model.named_parameters() if decay[id(parameter)] == 0}
    assert {"cls_token", "norm.weight", "norm.bias", "head.bias"} | model.no_weight_decay() < spared
    fixed = {"pos_embed", "cls_token", "mask_token"} & {n for n, _ in model.named_parameters()}
    assert model.no_weight_decay() == fixed
    ends = ("bias", "weight", "temperature", "gamma", "_step")
    assert all(n in fixed or "norm" in n or n.endswith(ends) for n in spared)
    matrices = {n for n, parameter in model.named_parameters() if parameter.ndim >= 2}
    assert spared & matrices == model.no_weight_decay()
    linear = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)}
    assert linear and not linear & spared
    assert {decay[id(p)] for n, p in model.named_parameters() if n not in spared} == {DECAY}
    assert len(decay) == sum(1 for _ in model.parameters())


def test_adamw_against_its_rule(model):
    (first, second), eps = SETTINGS["betas"], 1e-8
    for name, old, new, gradient in before_and_after(model, "adamw", rounds=3):
        expected, mean, square = old.clone(), torch.zeros_like(old), torch.zeros_like(old)
        for step in (1, 2, 3):
            mean = first * mean + (1 - first) * gradient
            square = second * square + (1 - second) * gradient**2
            expected -= RATE * decay_of(name, old) * expected
            expected -= RATE * (mean / (1 - first**step)) / ((square / (1 - second**step)).sqrt() + eps)
        torch.testing.assert_close(new, expected, rtol=0, atol=1e-6, msg=name)


def test_lion_against_its_rule(model):
    first, second = SETTINGS["betas"]
    for name, old, new, gradient in before_and_after(model, "lion", rounds=3):
        expected, mean = old.clone(), torch.zeros_like(old)
        for _ in range(3):
            expected *= 1 - RATE * decay_of(name, old)
            expected -= RATE * (first * mean + (1 - first) * gradient).sign()
            mean = second * mean + (1 - second) * gradient
        torch.testing.assert_close(new, expected, rtol=0, atol=1e-6, msg=name)


def test_muon_moves_the_matrices_of_blocks_along_the_nearest_orthogonal_one(model):
    rate, moved = SETTINGS["matrix_learning_rate"], 0
    for parameter in model.parameters():
        if parameter.ndim == 2:  # of singular values that five Newton-Schulz steps bring near 1
            left, _, right = torch.linalg.svd(parameter.grad, full_matrices=False)
            parameter.grad = left * torch.linspace(1, 3, left.shape[1]) @ right
    for name, old, new, gradient in before_and_after(model, "muon"):
        if name.startswith("blocks.") and old.ndim == 2:
            scale = 0.2 * max(old.shape) ** 0.5  # the root mean square of AdamW's steps
            step = (old * (1 - rate * DECAY) - new) / (rate * scale)
            left, _, right = torch.linalg.svd(gradient, full_matrices=False)
            turned = left.T @ step @ right.T
            assert all(0.6 < value < 1.3 for value in turned.diagonal().tolist()), name
            assert (turned - turned.diagonal().diag()).abs().max() < 0.05, name
            moved += 1
        else:
            expected = old * (1 - RATE * decay_of(name, old)) - RATE * gradient.sign()
            torch.testing.assert_close(new, expected, rtol=0, atol=1e-5, msg=name)
    assert moved == 3  # subspaces, projection out of them, dictionary


def test_muon_of_a_vit_leaves_no_parameter_out():
    model = ViT(ViTConfig(img_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=3))
    optimizers = optimizers_of(model, OptimiserConfig(optimizer="muon"))
    held = [id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
