"""CBT equals the official code with each of its attentions: outputs, every layer's intermediates, gradients."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from agreement import agree
from einops import rearrange
from torch import nn

from crate_transformer.checkpoints import load_checkpoint, official_cbt
from crate_transformer.checkpoints.assemble import assemble
from crate_transformer.checkpoints.reading import read_tensors
from crate_transformer.layers import grid_means

NAMES = ("cbt_cls", "cbt_mean", "cbt_one_head", "cbt_mssa", "cbt_tssa")
PRECISIONS = {"float32": (torch.float32, ""), "float64": (torch.float64, "_float64")}
every_precision = pytest.mark.parametrize("precision", PRECISIONS)
every_name = pytest.mark.parametrize("name", NAMES)


def load(golden, name):
    config = golden.config("cbt", name)
    hints = {"global_pool": "avg"} if config["pool"] == "mean" else {}
    hints |= {"num_heads": config["heads"]} if config["attention"] == "MSSA" else {}
    return load_checkpoint(golden.path("cbt", name), **hints)


def merged(heads):
    return rearrange(heads, "b h n p -> b n (h p)")


def intermediates(model, images):
    """Everything that the golden files record, by plain hooks."""
    seen = {}

    def keep(module, name, arrange=lambda x: x):
        module.register_forward_hook(lambda _, args, out: seen.update({name: arrange(out)}))

    keep(model.patch_embed, "patch_embed")
    model.blocks[0].register_forward_pre_hook(lambda _, args: seen.update(tokens=args[0]))
    model.norm.register_forward_pre_hook(lambda _, args: seen.update(pooled=args[0]))
    points = {"attention": "attention", "membership": "membership", "representatives": "representatives"}
    points |= {"contraction": "contraction_attention"}
    for number, block in enumerate(model.blocks):
        lead, attn = f"layers.{number}", block.attn
        keep(attn.projection, f"{lead}.projection", merged)
        keep(attn.head_output, f"{lead}.before_to_out", merged)
        for point, name in points.items():
            keep(getattr(attn, point, nn.Identity()), f"{lead}.{name}")
        if hasattr(attn, "coefficients"):
            keep(attn.projection, f"{lead}.representatives_initial", lambda w, p=attn.pooling: grid_means(w, None, p))
            keep(attn.coefficients, f"{lead}.coefficients", lambda a: a.mT)
        keep(attn, f"{lead}.attention_branch")
        keep(block.z_half, f"{lead}.z_half")
        keep(block, f"{lead}.z")
    with torch.no_grad():
        seen["output"] = model(images)
    for number, block in enumerate(model.blocks):
        if hasattr(block.attn, "coefficients"):
            lead = f"layers.{number}"
            w = rearrange(seen[f"{lead}.projection"], "b n (h p) -> b h n p", h=block.attn.num_heads)
            a = seen[f"{lead}.coefficients"]
            seen[f"{lead}.representatives_delta"] = a @ w
            seen[f"{lead}.contraction"] = seen[f"{lead}.contraction_attention"] @ seen[f"{lead}.representatives"]
            seen[f"{lead}.attention_estimate"] = a[:1].mT @ a[:1]
    return seen


def test_every_golden_entry_is_tested(golden):
    assert golden.names("cbt") == set(NAMES)


@every_precision
@every_name
def test_outputs_and_intermediates(golden, name, precision):
    dtype, suffix = PRECISIONS[precision]
    expected, model = golden.tensors("cbt", name), load(golden, name).to(dtype)
    seen = intermediates(model, expected["input"].to(dtype))
    recorded = [
        key for key in expected if key.endswith("_float64") == bool(suffix) and not key.startswith(("input", "other"))
    ]
    assert len(recorded) > 4 + 5 * len(model.blocks)
    for key in recorded:
        agree(seen[key.removesuffix(suffix)], expected[key], key)
    fresh = load(golden, name).to(dtype)
    with torch.no_grad():  # and with fused attention, without hooks
        agree(fresh(expected["input"].to(dtype)), expected[f"output{suffix}"])


@every_precision
@every_name
def test_gradients_of_every_parameter(golden, name, precision):
    dtype = PRECISIONS[precision][0]
    expected, model = golden.tensors("cbt", name, "gradients"), load(golden, name).to(dtype)
    images = expected.pop("input").to(dtype).requires_grad_()
    loss = F.cross_entropy(model(images), expected.pop("labels"), label_smoothing=0.1)
    loss.backward()
    agree(loss, expected.pop("loss"))
    agree(images.grad, expected.pop("input_grad"))
    official = {own: key for key, own in renamings_of(model).items()}
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for own, parameter in model.named_parameters():
        theirs = expected.pop(f"grad.{official[own]}")
        agree(parameter.grad, theirs.reshape(parameter.shape), own, beside=largest)
    assert not expected


@every_precision
def test_another_size_with_the_table_that_the_official_code_makes(golden, precision):
    dtype, suffix = PRECISIONS[precision]
    expected, model = golden.tensors("cbt", "cbt_one_head"), load(golden, "cbt_one_head")
    model.set_input_size(golden.config("cbt", "cbt_one_head")["other_size"])
    model.to(dtype).pos_embed = nn.Parameter(expected[f"other_size.pos_embedding{suffix}"])
    with torch.no_grad():
        agree(model.forward_features(expected["other_size.input"].to(dtype)), expected[f"other_size.features{suffix}"])


def test_plain_pooling_is_another_model(golden):
    expected = golden.tensors("cbt", "cbt_cls")
    plain = load_checkpoint(golden.path("cbt", "cbt_cls"), pooling="plain")
    with torch.no_grad():
        assert (plain(expected["input"]) - expected["output"]).abs().max() > 1e-4


def renamings_of(model):
    return official_cbt.renamings(len(model.patch_embed.convs), len(model.blocks), model.config.attention)


@pytest.mark.parametrize("name", ["cbt_cls", "cbt_tssa"])
def test_exchanging_two_renamings_is_noticed(golden, name, monkeypatch):
    expected, pairs = golden.tensors("cbt", name), 0
    tensors, _ = read_tensors(golden.path("cbt", name))
    tensors = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    right = official_cbt.convert(tensors, {})
    kind = right.config.attention
    in_layer = official_cbt.RENAMED_IN_LAYER | official_cbt.RENAMED_IN_ATTENTION[kind]
    for table, rows in (("RENAMED", official_cbt.RENAMED), ("RENAMED_IN_LAYER", in_layer)):
        for one, other in itertools.combinations(rows, 2):
            if right.tensors[rows[one].format(l=1)].shape != right.tensors[rows[other].format(l=1)].shape:
                continue
            with monkeypatch.context() as patch, torch.no_grad():
                patch.setattr(official_cbt, table, rows | {one: rows[other], other: rows[one]})
                if table == "RENAMED_IN_LAYER":
                    patch.setitem(official_cbt.RENAMED_IN_ATTENTION, kind, {})
                wrong = official_cbt.convert(tensors, {})
                answer = assemble(wrong.model_class, wrong.config, wrong.tensors)(expected["input"])
            assert (answer - expected["output"]).abs().max() > 1e-5, (one, other)
            pairs += 1
    assert pairs > 10
