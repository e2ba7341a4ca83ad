"""CRATE equals the official code: outputs, every layer's intermediates, gradients."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from agreement import agree
from einops import rearrange

from crate_transformer.checkpoints import load_checkpoint, official_crate

NAMES = ("crate_cls", "crate_mean", "crate_identity", "crate_rect", "crate_rectpatch_gray", "crate_finetune")
PRECISIONS = {"float32": (torch.float32, ""), "float64": (torch.float64, "_float64")}


def load(golden, name):
    return load_checkpoint(golden.path("crate", name), **golden.hints("crate", name))


def intermediates(model, images):
    """Everything the golden files record, by plain hooks."""
    seen, handles = {}, []

    def keep(name, module, arrange=lambda x: x, before=False):
        if before:
            handles.append(module.register_forward_pre_hook(lambda _, args: seen.update({name: args[0]})))
        else:
            handles.append(module.register_forward_hook(lambda _, args, out: seen.update({name: arrange(out)})))

    keep("tokens", model.blocks[0], before=True)
    keep("pooled", model.norm, before=True)
    for index, block in enumerate(model.blocks):
        lead = f"layers.{index}"
        keep(f"{lead}.qkv", block.mssa.projection, lambda w: rearrange(w, "b h n p -> b n (h p)"))
        keep(f"{lead}.attention", block.mssa.attention)
        keep(f"{lead}.mssa", block.mssa)
        keep(f"{lead}.z_half", block.z_half)
        keep(f"{lead}.z", block.ista)
    with torch.no_grad():
        seen["output"] = model(images)
    for handle in handles:
        handle.remove()
    return seen


def test_every_golden_entry_is_tested(golden):
    assert golden.names("crate") == set(NAMES)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_intermediates(golden, name, precision):
    dtype, suffix = PRECISIONS[precision]
    expected = golden.tensors("crate", name)
    model = load(golden, name).to(dtype)
    images = expected["input"].to(dtype)
    seen = intermediates(model, images)
    recorded = [key for key in expected if key.endswith(suffix) and key.endswith("_float64") == bool(suffix)]
    for key in recorded:
        if key != "input":
            agree(seen[key.removesuffix(suffix)], expected[key], key)
    assert len(recorded) > (5 * len(model.blocks) if name != "crate_finetune" else 0)
    with torch.no_grad():  # and with the fused attention
        agree(model(images), expected[f"output{suffix}"])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["crate_cls", "crate_mean", "crate_identity"])
def test_gradients_of_every_parameter_and_of_the_images(golden, name, precision):
    dtype = PRECISIONS[precision][0]
    expected = golden.tensors("crate", name, "gradients")
    model = load(golden, name).to(dtype)
    images = expected["input"].to(dtype).requires_grad_()
    loss = F.cross_entropy(model(images), expected["labels"], label_smoothing=0.1)
    loss.backward()
    agree(loss, expected["loss"])
    agree(images.grad, expected["input_grad"])
    stored = {key.removeprefix("grad.") for key in expected if key.startswith("grad.")}
    official = {own: key for key, own in official_crate.RENAMED.items()}
    for layer in range(len(model.blocks)):
        official |= {own.format(l=layer): k.format(l=layer) for k, own in official_crate.RENAMED_IN_LAYER.items()}
    for own, parameter in model.named_parameters():
        key = official[own]
        stored.remove(key)
        agree(parameter.grad, expected[f"grad.{key}"])
    assert not stored


def test_exchanging_two_renamings_of_one_shape_is_noticed(golden, monkeypatch):
    """No pair of rows in the table can be confused without changing the logits."""
    expected = golden.tensors("crate", "crate_cls")
    right = load(golden, "crate_cls").state_dict()

    def own(name):
        return name.format(l=1)

    exchanged = 0
    for table in ("RENAMED", "RENAMED_IN_LAYER"):
        rows = getattr(official_crate, table)
        for one, other in itertools.combinations(rows, 2):
            if right[own(rows[one])].shape != right[own(rows[other])].shape:
                continue
            monkeypatch.setattr(official_crate, table, rows | {one: rows[other], other: rows[one]})
            with torch.no_grad():
                wrong = load(golden, "crate_cls")(expected["input"])
            assert (wrong - expected["output"]).abs().max() > 1e-3, (one, other)
            exchanged += 1
        monkeypatch.undo()
    assert exchanged > 20
