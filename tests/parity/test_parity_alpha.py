"""CRATE-alpha equals the official code, from every official format: outputs, every layer's tokens, gradients."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from agreement import agree
from einops import rearrange

from crate_transformer.checkpoints import (
    load_checkpoint,
    official_crate_alpha,
    official_crate_alpha_clipa,
    official_crate_alpha_jax,
    released_resize,
)

PRECISIONS = {"float32": (torch.float32, ""), "float64": (torch.float64, "_float64")}
TORCH, JAX, CLIPA = "crate-alpha", "crate-alpha-jax", "crate-alpha-clipa"
FILES = [
    (TORCH, "alpha_base", "checkpoint"),
    (TORCH, "alpha_patch4", "checkpoint"),
    (JAX, "alpha_jax", "checkpoint"),
    (JAX, "alpha_jax", "params_only"),
    (JAX, "alpha_jax_1head", "checkpoint"),
    (JAX, "alpha_jax_1head", "params_only"),
    (JAX, "alpha_jax_1head", "converted"),
    (CLIPA, "clipa", "checkpoint"),
]
every_file = pytest.mark.parametrize(("family", "name", "role"), FILES)
every_precision = pytest.mark.parametrize("precision", PRECISIONS)


def load(golden, family, name, role="checkpoint"):
    """The model, told only what its file does not tell."""
    config, hints = golden.config(family, name), {}
    if family == TORCH or role == "converted":
        hints = {"num_heads": config["heads"]}
    if role == "converted":  # a JAX model: its head norm has the JAX epsilon
        hints["head_eps"] = 1e-6
    if family == CLIPA:
        hints = {"num_heads": config["vision_heads"]}
    return load_checkpoint(golden.path(family, name, role), **hints)


def intermediates(model, images):
    """Everything the golden files record under any of their names, by plain hooks."""
    seen, handles = {}, []

    def keep(module, *names, arrange=lambda x: x):
        handles.append(
            module.register_forward_hook(lambda _, args, out: seen.update(dict.fromkeys(names, arrange(out))))
        )

    def first_code(module, args):
        seen[f"layers.{modules[module]}.code1"] = F.relu(
            module.step_size * (args[0] @ module.dictionary - module.sparsity_weight)
        )

    modules = {block.odl: index for index, block in enumerate(model.blocks)}
    rows = model.grid_size(*model.img_size)[0]
    keep(model.patch_embed, "stem", arrange=lambda x: rearrange(x, "b (h w) d -> b h w d", h=rows))
    handles.append(
        model.blocks[0].register_forward_pre_hook(lambda _, args: seen.update(tokens=args[0], with_posemb=args[0]))
    )
    for index, block in enumerate(model.blocks):
        lead = f"layers.{index}"
        keep(block.mssa.projection, f"{lead}.qkv", arrange=lambda w: rearrange(w, "b h n p -> b n (h p)"))
        keep(block.mssa.attention, f"{lead}.attention")
        keep(block.mssa, f"{lead}.sa")
        keep(block.z_half, f"{lead}.z_half")
        handles.append(block.odl.register_forward_pre_hook(first_code))
        keep(block.odl.code, f"{lead}.code2")
        keep(block.odl, f"{lead}.odl")
        keep(block, f"{lead}.z", f"visual.{index}.z", "encoded")
    keep(model.norm, "pre_logits")
    with torch.no_grad():
        seen["output"] = seen["image_features"] = model(images)
    for handle in handles:
        handle.remove()
    return seen


def test_every_golden_entry_is_tested(golden):
    for family in (TORCH, JAX, CLIPA):
        assert golden.names(family) == {name for kind, name, _ in FILES if kind == family}


@every_file
@every_precision
def test_outputs_and_intermediates(golden, family, name, role, precision):
    dtype, suffix = PRECISIONS[precision]
    expected = golden.tensors(family, name)
    model = load(golden, family, name, role).to(dtype)
    images = expected["input"].to(dtype)
    seen = intermediates(model, images)
    other_parts = ("input", "resampled", "text", "token_ids", "logits", "output_torch")
    recorded = [
        key
        for key in expected
        if key.endswith(suffix) and key.endswith("_float64") == bool(suffix) and not key.startswith(other_parts)
    ]
    for key in recorded:
        agree(seen[key.removesuffix(suffix)], expected[key], key)
    assert len(recorded) >= {TORCH: 16, JAX: 13, CLIPA: 3}[family]
    with torch.no_grad():  # and with the fused attention
        output = expected.get(f"output{suffix}", expected.get(f"image_features{suffix}"))
        agree(model(images), output)


@every_precision
@pytest.mark.parametrize("name", ["alpha_base", "alpha_patch4"])
def test_gradients_of_every_parameter(golden, name, precision):
    dtype = PRECISIONS[precision][0]
    expected = golden.tensors(TORCH, name, "gradients")
    model = load(golden, TORCH, name).to(dtype)
    images = golden.tensors(TORCH, name)["input"].to(dtype)
    loss = F.cross_entropy(model(images), expected["labels"], label_smoothing=0.1)
    loss.backward()
    agree(loss, expected["loss"])
    stored = {key.removeprefix("grad.") for key in expected if key.startswith("grad.")}
    official = {own: key for key, own in official_crate_alpha.RENAMED.items()}
    in_layer = official_crate_alpha.unfold(official_crate_alpha.RENAMED_IN_LAYER, len(model.blocks))
    official |= {own: key for key, own in in_layer.items()}
    for own, parameter in model.named_parameters():
        stored.remove(official[own])
        agree(parameter.grad, expected[f"grad.{official[own]}"])
    assert not stored


def test_the_released_class_and_jax_differ_in_the_last_epsilon(golden):
    """The same weights from the .pth file follow the PyTorch class, from the .npz file the JAX code."""
    expected = golden.tensors(JAX, "alpha_jax")
    images = expected["input"].double()
    released = load_checkpoint(golden.path(JAX, "alpha_jax", "converted"), num_heads=4).double()
    trained = load_checkpoint(golden.path(JAX, "alpha_jax", "converted"), num_heads=4, head_eps=1e-6).double()
    with torch.no_grad():
        agree(released(images), expected["output_torch_released_float64"])
        agree(trained(images), expected["output_float64"])
        assert (released(images) - trained(images)).abs().max() > 1e-6
        assert torch.equal(trained(images), load(golden, JAX, "alpha_jax").double()(images))


@pytest.mark.parametrize("name", ["alpha_jax", "alpha_jax_1head"])
def test_other_sizes_as_the_jax_code_resamples(golden, name):
    expected, new = golden.tensors(JAX, name), golden.config(JAX, name)["resampled"]
    model = load(golden, JAX, name)
    resized = released_resize(model, img_size=new["image_size"], patch_size=new["patch_size"])
    kernel = rearrange(expected["resampled_embedding_kernel"], "r s c d -> d c r s")
    agree(resized.patch_embed.proj.weight, kernel)
    agree(resized.pos_embed, expected["resampled_pos_embedding"])
    with torch.no_grad():
        agree(resized(expected["resampled_input"]), expected["resampled_output"])
    assert not resized.training
    assert (resized.img_size, resized.preprocessing.img_size) == ((new["image_size"],) * 2,) * 2
    assert torch.equal(model.pos_embed, load(golden, JAX, name).pos_embed)


@pytest.mark.parametrize(
    ("module", "family", "name"),
    [
        (official_crate_alpha, TORCH, "alpha_base"),
        (official_crate_alpha_jax, JAX, "alpha_jax"),
        (official_crate_alpha_clipa, CLIPA, "clipa"),
    ],
)
def test_exchanging_two_renamings_of_one_shape_is_noticed(golden, monkeypatch, module, family, name):
    """No pair of rows in a table can be confused without changing the logits."""
    expected = golden.tensors(family, name)
    output = expected.get("output", expected.get("image_features"))
    right = load(golden, family, name).state_dict()

    def shape(own):
        return right[own.format(l=1)].shape

    exchanged = 0
    for table in ("RENAMED", "RENAMED_IN_LAYER"):
        rows = getattr(module, table)
        for one, other in itertools.combinations(rows, 2):
            if shape(rows[one]) != shape(rows[other]):
                continue
            monkeypatch.setattr(module, table, rows | {one: rows[other], other: rows[one]})
            with torch.no_grad():
                wrong = load(golden, family, name)(expected["input"])
            assert (wrong - output).abs().max() > 1e-4, (one, other)
            exchanged += 1
        monkeypatch.undo()
    assert exchanged >= 9


@every_precision
def test_clip_logits_with_the_stored_text_features(golden, precision):
    dtype, suffix = PRECISIONS[precision]
    expected = golden.tensors(CLIPA, "clipa")
    with torch.no_grad():
        features = load(golden, CLIPA, "clipa").to(dtype)(expected["input"].to(dtype))
    texts = expected[f"text_features{suffix}"]
    logits = 100 * F.normalize(features, dim=-1) @ F.normalize(texts, dim=-1).T
    agree(logits, expected[f"logits{suffix}"])
