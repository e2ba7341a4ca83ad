"""CRATE-MAE equals the official code: tokens, every layer of encoder and decoder, prediction, loss, gradients."""

import dataclasses
import itertools

import pytest
import torch
from agreement import agree
from einops import rearrange

from crate_transformer.checkpoints import load_checkpoint, official_crate_mae
from crate_transformer.layers import patchify, unpatchify

NAMES = ("mae_lambda0.5", "mae_lambda5.0")
PRECISIONS = {"float32": (torch.float32, ""), "float64": (torch.float64, "_float64")}
TABLES = ("RENAMED", "RENAMED_IN_LAYER", "RENAMED_IN_DECODER_LAYER")


def load(golden, name, **hints):
    config = golden.config("crate-mae", name)
    told = {"num_heads": config["heads"], "sparsity_weight": config["lambd"]}
    return load_checkpoint(golden.path("crate-mae", name), **told, **hints)


def intermediates(model, call):
    """Everything the golden files record, by plain hooks, while ``call`` runs."""
    seen, handles = {}, []

    def keep(name, module, before=False):
        if before:
            handles.append(module.register_forward_pre_hook(lambda _, args: seen.update({name: args[0]})))
        else:
            handles.append(module.register_forward_hook(lambda _, args, out: seen.update({name: out})))

    keep("patch_embed", model.patch_embed)
    keep("tokens", model.blocks[0], before=True)
    keep("latent", model.norm)
    for part, blocks in (("encoder", model.blocks), ("decoder", model.decoder.blocks)):
        for index, block in enumerate(blocks):
            keep(f"{part}.{index}.z", block)
            keep(f"{part}.{index}.z_half", block.z_half)
            keep(f"{part}.{index}.attention", block.mssa.attention)
    with torch.no_grad():
        result = call()
    for handle in handles:
        handle.remove()
    return seen, result


def test_every_golden_entry_is_tested(golden):
    assert golden.names("crate-mae") == set(NAMES)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_intermediates(golden, name, precision):
    dtype, suffix = PRECISIONS[precision]
    expected = golden.tensors("crate-mae", name)
    model = load(golden, name).to(dtype)
    images, noise = expected["input"].to(dtype), expected["noise"].to(dtype)
    seen, result = intermediates(model, lambda: model.reconstruct(images, noise=noise))

    assert torch.equal(result.mask.float(), expected["mask"])
    grid = model.grid_size(*images.shape[-2:])
    seen["target_patches"] = patchify(images, model.patch_size)
    seen["prediction"], seen["loss"] = result.patches, result.loss
    seen["reconstruction"] = unpatchify(result.patches, model.patch_size, grid)
    model.config = dataclasses.replace(model.config, normalise_pixels=True)
    with torch.no_grad():  # and with the fused attention, without hooks
        seen["loss_norm_pix"] = model.reconstruct(images, noise=noise).loss
    inputs = {"input", "noise", "mask", "ids_restore"}
    recorded = [
        k for k in expected if k not in inputs and k.endswith(suffix) and k.endswith("_float64") == bool(suffix)
    ]
    assert {key.removesuffix(suffix) for key in recorded} == set(seen)
    for key in recorded:
        agree(seen[key.removesuffix(suffix)], expected[key], key)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_every_parameter(golden, name, precision):
    dtype = PRECISIONS[precision][0]
    expected = golden.tensors("crate-mae", name, "gradients")
    inputs = golden.tensors("crate-mae", name)
    model = load(golden, name).to(dtype)
    loss = model.reconstruct(inputs["input"].to(dtype), noise=inputs["noise"].to(dtype)).loss
    loss.backward()
    agree(loss, expected.pop("loss"))
    official = {own: key for key, own in official_crate_mae.RENAMED.items()}
    for layer in range(len(model.blocks)):
        for table in TABLES[1:]:
            rows = getattr(official_crate_mae, table)
            official |= {own.format(l=layer): key.format(l=layer) for key, own in rows.items()}
    for own, parameter in model.named_parameters():
        gradient = expected.pop(f"grad.{official[own]}")
        agree(parameter.grad, gradient)
    assert not expected


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_alone_sees_whole_images(golden, name, precision):
    dtype, suffix = PRECISIONS[precision]
    expected = golden.tensors("crate-mae", name, "features")
    model = load(golden, name).to(dtype)
    images, last = expected["input"].to(dtype), len(model.blocks) - 1
    points = {"native.tokens": model.blocks[0].norm1}
    for layer in (0, last):
        points[f"native.attention.layer{layer}"] = model.blocks[layer].mssa.attention
        points[f"native.qkv.layer{layer}"] = model.blocks[layer].mssa.projection
    seen = {}
    handles = [
        point.register_forward_hook(lambda _, args, out, key=key: seen.update({key: args[0]}))
        for key, point in points.items()
    ]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    for key, value in seen.items():
        arranged = rearrange(value, "b h n p -> b n (h p)") if ".qkv." in key else value
        agree(arranged, expected[f"{key}{suffix}"])
    assert seen.keys() == {key for key in expected if key.startswith("native.") and not key.endswith("_float64")}


def test_exchanging_two_renamings_of_one_shape_is_noticed(golden, monkeypatch):
    """No pair of rows in the tables can be confused without changing the prediction."""
    expected = golden.tensors("crate-mae", "mae_lambda0.5")
    right = load(golden, "mae_lambda0.5").state_dict()
    exchanged = 0
    rows = [(table, key, own) for table in TABLES for key, own in getattr(official_crate_mae, table).items()]
    for (table, one, own), (other_table, other, other_own) in itertools.combinations(rows, 2):
        if right[own.format(l=1)].shape != right[other_own.format(l=1)].shape or ("{l}" in one) != ("{l}" in other):
            continue
        changed = {name: dict(getattr(official_crate_mae, name)) for name in TABLES}
        changed[table][one], changed[other_table][other] = other_own, own
        for name in TABLES:
            monkeypatch.setattr(official_crate_mae, name, changed[name])
        with torch.no_grad():
            wrong = load(golden, "mae_lambda0.5").reconstruct(expected["input"], noise=expected["noise"])
        monkeypatch.undo()
        assert (wrong.patches - expected["prediction"]).abs().max() > 1e-3, (one, other)
        exchanged += 1
    assert exchanged > 40
