"""ToST equals the official code, for pictures and for language: outputs, every layer's intermediates, gradients."""

import itertools

import pytest
import torch
from agreement import agree

from crate_transformer.checkpoints import load_checkpoint, official_tost, official_tost_language
from crate_transformer.checkpoints.assemble import assemble
from crate_transformer.checkpoints.reading import read_tensors

VISION, LANGUAGE = ("tost_p16", "tost_p8"), ("tost_lang", "tost_lang_bias")
PRECISIONS = {"float32": (torch.float32, ""), "float64": (torch.float64, "_float64")}
every_precision = pytest.mark.parametrize("precision", PRECISIONS)


def load_vision(golden, name, **hints):
    path = golden.path("tost-vision", name)
    return load_checkpoint(path, img_size=golden.config("tost-vision", name)["image_size"], **hints)


def load_language(golden, name):
    return load_checkpoint(golden.path("tost-language", name))


def observed(model, names, inputs):
    """Outputs of the named modules during one forward pass; ``name<`` stands for the input."""
    seen, modules, handles = {}, dict(model.named_modules()), []

    def keep(key, before):
        return lambda _, args, out: seen.update({key: args[0] if before else out})

    for key, name in names.items():
        handles.append(modules[name.rstrip("<")].register_forward_hook(keep(key, name.endswith("<"))))
    with torch.no_grad():
        seen["output"] = model(inputs)
    for handle in handles:
        handle.remove()
    return seen


def compare(seen, expected, precision, count):
    """Every stored tensor of this precision that has a name in ``seen`` agrees."""
    suffix = PRECISIONS[precision][1]
    for key, ours in seen.items():
        theirs = expected[f"{key}{suffix}"]
        ours = ours.reshape(-1, *theirs.shape[1:]).expand_as(theirs) if theirs.ndim else ours
        agree(ours, theirs, key)
    assert len(seen) == count


def test_every_golden_entry_is_tested(golden):
    assert golden.names("tost-vision") == set(VISION)
    assert golden.names("tost-language") == set(LANGUAGE)


@every_precision
@pytest.mark.parametrize("name", VISION)
def test_pictures(golden, name, precision):
    dtype, suffix = PRECISIONS[precision]
    expected, model = golden.tensors("tost-vision", name), load_vision(golden, name).to(dtype)
    names = {"patch_embed": "patch_embed", "position": "pos_embed.proj", "tokens": "blocks.0<", "features": "head<"}
    for layer in range(len(model.blocks)):
        names[f"layers.{layer}.membership"] = f"blocks.{layer}.tssa.membership"
        names[f"layers.{layer}.tssa"] = f"blocks.{layer}.tssa"
        names[f"layers.{layer}.x"] = f"blocks.{layer}"
    for layer in range(2):
        names[f"class_attention.{layer}.x"] = f"class_layers.{layer}"
    seen = observed(model, names, expected["input"].to(dtype))
    compare(seen, expected, precision, 7 + 3 * len(model.blocks))
    projected = observed(model, {"w": "blocks.1.tssa.subspaces"}, expected["input"].to(dtype))["w"]
    agree(projected, expected[f"layers.1.projection{suffix}"])
    assert torch.equal(model.float().pos_embed.features(*model.grid_size(*model.img_size)), expected["fourier_table"])


@every_precision
@pytest.mark.parametrize("name", VISION)
def test_another_size(golden, name, precision):
    dtype, suffix = PRECISIONS[precision]
    expected, model = golden.tensors("tost-vision", name), load_vision(golden, name).to(dtype)
    with torch.no_grad():
        logits = model(expected["input_other_size"].to(dtype))
    agree(logits, expected[f"output_other_size{suffix}"])


@pytest.mark.parametrize("name", VISION)
def test_the_averaged_weights_are_taken_when_asked_for(golden, name):
    expected, model = golden.tensors("tost-vision", name), load_vision(golden, name, weights="model_ema")
    assert model.provenance.hints["weights"] == "model_ema"
    with torch.no_grad():
        logits = model(expected["input"])
    agree(logits, expected["output_ema"])
    assert (logits - expected["output"]).abs().max() > 1e-4


@every_precision
@pytest.mark.parametrize("name", LANGUAGE)
def test_language(golden, name, precision):
    dtype = PRECISIONS[precision][0]
    expected, model = golden.tensors("tost-language", name), load_language(golden, name).to(dtype)
    names = {}
    for layer in range(len(model.blocks)):
        names |= {f"layers.{layer}.tssa": f"blocks.{layer}.tssa", f"layers.{layer}.x": f"blocks.{layer}"}
    seen = observed(model, names, expected["token_ids"])
    seen["logits"] = seen.pop("output")
    seen["last_logits"] = seen["logits"][:, -1:]
    with torch.no_grad():
        seen["logits_short"] = model(expected["token_ids"][:, :5])
        seen["loss"] = model.loss(expected["token_ids"], expected["targets"])
    compare(seen, expected, precision, 4 + 2 * len(model.blocks))
    longer = model.generate(expected["token_ids"][:, :4], 6, temperature=0.0)
    assert torch.equal(longer, expected["greedy"])


@every_precision
@pytest.mark.parametrize("name", LANGUAGE)
def test_gradients_of_every_parameter(golden, name, precision):
    dtype = PRECISIONS[precision][0]
    inputs, expected = golden.tensors("tost-language", name), golden.tensors("tost-language", name, "gradients")
    model = load_language(golden, name).to(dtype)
    loss = model.loss(inputs["token_ids"], inputs["targets"])
    loss.backward()
    agree(loss, expected.pop("loss"))
    official = {own: key for key, own in official_tost_language.RENAMED.items()}
    for layer in range(len(model.blocks)):
        for key, own in official_tost_language.RENAMED_IN_LAYER.items():
            official[own.format(l=layer)] = key.format(l=layer)
    largest = max(
        gradient.abs().max().item() for gradient in expected.values()
    )  # the official ones hold noise of 1 / w
    for own, parameter in model.named_parameters():
        theirs = expected.pop(f"grad.{official[own]}")
        agree(parameter.grad, theirs.reshape(parameter.shape), beside=largest)
    assert not expected


def exchange(module, tables, path, inputs, monkeypatch):
    """Outputs after exchanging two renamings of one shape in one table, for one pair after the other."""
    tensors, _ = read_tensors(path)
    right = module.convert(tensors, {}).tensors
    for table in tables:
        rows = {key: own for key, own in getattr(module, table).items() if "num_batches" not in key}
        for one, other in itertools.combinations(rows, 2):
            if right[rows[one].format(l=1)].shape != right[rows[other].format(l=1)].shape:
                continue
            with monkeypatch.context() as patch, torch.no_grad():
                patch.setattr(module, table, getattr(module, table) | {one: rows[other], other: rows[one]})
                wrong = module.convert(tensors, {})
                model = assemble(wrong.model_class, wrong.config, wrong.tensors)
                yield f"{one} and {other}", model(inputs)


def test_exchanging_two_renamings_for_pictures_is_noticed(golden, monkeypatch):
    expected, path = golden.tensors("tost-vision", "tost_p16"), golden.path("tost-vision", "tost_p16")
    tables, pairs = ("RENAMED", "RENAMED_IN_STEM", "RENAMED_IN_BLOCK", "RENAMED_IN_CLASS_LAYER"), 0
    for pair, wrong in exchange(official_tost, tables, path, expected["input"], monkeypatch):
        assert not (wrong - expected["output"]).abs().max() < 1e-5, pair  # a variance below zero gives no number
        pairs += 1
    assert pairs > 60


def test_exchanging_two_renamings_for_language_is_noticed(golden, monkeypatch):
    expected, path = golden.tensors("tost-language", "tost_lang_bias"), golden.path("tost-language", "tost_lang_bias")
    pairs = 0
    for pair, wrong in exchange(
        official_tost_language, ("RENAMED", "RENAMED_IN_LAYER"), path, expected["token_ids"], monkeypatch
    ):
        assert (wrong - expected["logits"]).abs().max() > 1e-3, pair
        pairs += 1
    assert pairs > 30
