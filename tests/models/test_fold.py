"""Folding: exact, of the weights of the moment, and free of the model that it was made from."""

import copy
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode

from crate_transformer.checkpoints import save_checkpoint
from crate_transformer.inspection import record
from crate_transformer.layers import HookPoint, Int8Linear, pack_linears, quantise_linears
from crate_transformer.layers.packed_linear import PackedLinear, can_pack
from crate_transformer.models import LANGUAGE_MODELS, MODELS, build_language_model, build_model

TOY = {"embed_dim": 24, "depth": 2, "num_heads": 3}
PICTURES = {"img_size": 16, "patch_size": 4, "num_classes": 5}
FAMILIES = {model_class.__name__: name for name, (model_class, _) in (MODELS | LANGUAGE_MODELS).items()}
every_family = pytest.mark.parametrize("family", FAMILIES)
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def build(family):
    name = FAMILIES[family]
    if name in LANGUAGE_MODELS:
        model = build_language_model(name, vocab_size=11, context_length=12, **TOY)
    else:
        model = build_model(name, **PICTURES, **TOY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.double().eval()


def inputs(model, batch=4):
    if hasattr(model, "embedding"):
        return torch.randint(0, 11, (batch, 12))
    return torch.randn(batch, 3, 16, 16, dtype=torch.float64)


def step(model):
    """Optimiser steps, of several kinds."""
    for optimizer in (torch.optim.SGD(model.parameters(), lr=0.1), torch.optim.AdamW(model.parameters(), lr=0.01)):
        optimizer.zero_grad()
        model(inputs(model)).square().mean().backward()
        optimizer.step()
    return model


def load(model):
    model.load_state_dict({name: value + 0.01 for name, value in model.state_dict().items()})
    return model


def write_through_data(model):
    for parameter in model.parameters():
        parameter.data.mul_(1.1)
    return model


def replace_data(model):
    for parameter in model.parameters():
        parameter.data = 0.9 * parameter.data
    return model


def change_a_copy(model):
    return write_through_data(copy.deepcopy(model))


def average(model):
    """An exponential moving average, taken along while the model learns."""
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    for _ in range(2):
        averaged.update_parameters(step(model))
        averaged(inputs(model))
    assert not torch.equal(averaged.module.norm.weight, model.norm.weight)
    return averaged.module


MOVES = [(step, False), (step, True), (load, False), (write_through_data, True), (replace_data, False)]
MOVES += [(change_a_copy, True), (average, False)]
"""Each with whether the model is in training mode."""


@every_family
@pytest.mark.parametrize(("move", "training"), MOVES)
def test_model_and_fold_follow_the_weights_and_an_earlier_fold_does_not(move, training, family):
    torch.manual_seed(1)
    model = build(family)
    model.train(training)
    x = inputs(model)
    with torch.no_grad():
        model(x)
        early = model.fold()
        before = early(x)
    moved = move(model)
    fresh = type(model)(model.config).double()
    fresh.load_state_dict(moved.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(moved.eval()(x), fresh.eval()(x), rtol=0, atol=0)
        torch.testing.assert_close(moved.fold()(x), fresh(x), **EXACT)
        assert not torch.allclose(fresh(x), before, rtol=1e-3)
        assert torch.equal(early(x), before)
        torch.testing.assert_close(moved.train(training)(x), fresh.train(training)(x), rtol=0, atol=0)


@every_family
def test_a_fold_changes_nothing_in_its_model(family, tmp_path):
    model = build(family).train()
    before = copy.deepcopy(model.state_dict())
    folded = model.fold()
    assert model.training and not folded.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    shared = {tensor.data_ptr() for tensor in model.state_dict().values()} - {0}
    assert not shared & {tensor.data_ptr() for tensor in folded.state_dict().values()}
    with pytest.raises(ValueError, match="save the original model"):
        save_checkpoint(folded, tmp_path / "folded")
    with pytest.raises(RuntimeError, match="state_dict"):
        folded.load_state_dict(before)


@every_family
def test_folding_twice(family):
    model = build(family)
    first, second, x = model.fold(), model.fold(), inputs(model)
    assert torch.equal(first(x), second(x))
    with pytest.raises(ValueError, match="this model is already folded: fold the original model"):
        first.fold()
    copied = copy.deepcopy(first)
    assert torch.equal(copied(x), first(x))


@every_family
@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_where_it_is_folded_does_not_matter(around, family):
    model = build(family).float()
    expected = model.fold().state_dict()
    with around():
        folded = model.fold()
    assert all(torch.equal(value, expected[name]) for name, value in folded.state_dict().items())
    assert not any(tensor.is_inference() for tensor in folded.state_dict().values())


@every_family
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype, family):
    model = build(family).to(dtype)
    folded, exact = model.fold(), copy.deepcopy(model).double().fold()
    for name, value in folded.state_dict().items():
        assert value.dtype == (dtype if value.is_floating_point() else torch.int64), name
        right = exact.state_dict()[name]
        spacing = torch.finfo(dtype).eps * right.abs().double() + torch.finfo(dtype).tiny
        assert ((value.double() - right).abs() <= 0.51 * spacing).all(), name


@every_family
def test_taps_show_the_same(family):
    model = build(family)
    x, folded = inputs(model), model.fold()
    points = [name for name, module in model.named_modules() if isinstance(module, HookPoint) and "decoder" not in name]
    assert points and len(points) == len(
        {name for name, m in folded.named_modules() if isinstance(m, HookPoint)} & set(points)
    )
    with torch.no_grad():
        with record(model, *points) as plain:
            model(x)
        with record(folded, *points) as seen:
            folded(x)
    for name in points:
        torch.testing.assert_close(seen[name], plain[name], **EXACT)


@every_family
def test_every_linear_map_can_be_packed_or_stored_in_eight_bits(family):
    model = build(family).float()
    x = inputs(model)
    x = x.float() if x.is_floating_point() else x
    with torch.no_grad():
        expected = model(x)
        for change, kind, tolerance in ((pack_linears, PackedLinear, 1e-5), (quantise, Int8Linear, 0.1)):
            folded = model.fold()
            count = sum(type(module) is nn.Linear for module in folded.modules())
            change(folded)
            if kind is PackedLinear and not can_pack(torch.float32):
                continue
            assert sum(type(module) is kind for module in folded.modules()) == count >= 2 * len(model.blocks)
            assert (folded(x) - expected).norm() < tolerance * expected.norm()
            matrices = {name for name, p in folded.named_parameters() if p.ndim == 2 and "blocks" in name}
            assert not matrices, "matrices that nobody packs"


def quantise(model):
    quantise_linears(model, smallest=1)


def test_a_folded_autoencoder_reconstructs_the_same():
    model = build("CRATEMAE")
    images, noise = inputs(model), torch.rand(4, 16, dtype=torch.float64)
    expected, folded = model.reconstruct(images, noise=noise), model.fold()
    found = folded.reconstruct(images, noise=noise)
    torch.testing.assert_close(found.patches, expected.patches, **EXACT)
    torch.testing.assert_close(found.loss, expected.loss, **EXACT)
    assert torch.equal(found.mask, expected.mask)
    folded = model.float().fold()
    pack_linears(folded)
    with torch.no_grad():
        packed = folded.reconstruct(images.float(), noise=noise.float()).loss
    torch.testing.assert_close(packed, expected.loss.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_folded_language_models_write_the_same(bias):
    for name in ("tost_lm_base", "crate_lm_base"):
        model = build_language_model(name, vocab_size=11, context_length=12, bias=bias, **TOY).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        ids = torch.randint(0, 11, (2, 3))
        torch.testing.assert_close(model.fold()(ids), model(ids), **EXACT)
        assert torch.equal(model.fold().generate(ids, 12, temperature=0.0), model.generate(ids, 12, temperature=0.0))
        if not bias:
            made = {key for key in model.fold().state_dict() if key.endswith("bias")} - model.state_dict().keys()
            assert all(".ista." in key for key in made)  # folding makes no bias where there is none to add


def test_only_the_class_token_asks():
    """The class layers of an ordinary ToST multiply patches with keys and values alone."""
    layer, z = build("ToST").class_layers[0].attn, torch.randn(1, 101, 24, dtype=torch.float64)
    layer.attention.register_forward_hook(lambda *_: None)  # plain products, which the counter sees
    for one in (layer, layer.folded()):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            one(z)
        projections = 2 * 24 * 24 * (101 * 2 + 1 + 1)
        assert counter.get_total_flops() == projections + 2 * 2 * 101 * 24


@pytest.mark.filterwarnings("ignore")  # of DistributedDataParallel
@pytest.mark.parametrize(
    "families",
    [["CRATE", "ToST", "CausalCRATE"], pytest.param(list(FAMILIES), marks=pytest.mark.slow)],
    ids=["few", "all"],
)
def test_two_processes_have_the_gradients_of_the_joint_batch(families, tmp_path, monkeypatch, capfd):
    """One of the two is this one."""
    script = str(Path(__file__).with_name("one_replica.py"))
    environment = {"OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "INIT": f"file://{tmp_path / 'meet'}"}
    command, piped = [sys.executable, script, *families], subprocess.PIPE
    other = subprocess.Popen(
        command, env=os.environ | environment | {"RANK": "1"}, stdout=piped, stderr=piped, text=True
    )
    for name, value in (environment | {"RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", command[1:])
    runpy.run_path(script)
    out, err = other.communicate(timeout=240)
    assert other.returncode == 0, err[-2000:]
    assert out.split() == capfd.readouterr().out.split() == families


def test_mixed_precisions_are_refused():
    model = build_model("crate_micro_patch4_32", depth=1).bfloat16()
    model.blocks[0].norm1.float()
    with pytest.raises(ValueError, match="a block has parameters in"):
        model.fold()
