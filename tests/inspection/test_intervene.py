"""Outputs are replaced by name, with gradients, and never in silence."""

import pytest
import torch

from crate_transformer.inspection import intervene, record
from crate_transformer.models import build_model

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 2, "num_classes": 4}
FAMILIES = {
    "crate_tiny_patch16_224": "mssa",
    "vit_tiny_patch16_224": "attn",
    "tost_tiny_patch16_224": "tssa",
    "cbt_tiny_patch16_224": "attn",
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return build_model(request.param, **TINY).eval(), FAMILIES[request.param]


@pytest.fixture
def images():
    return torch.randn(2, 3, 16, 16)


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_heads_that_put_out_zero_are_heads_whose_columns_of_the_output_map_are_zero(family, images):
    model, attention = family

    def off(values):
        return torch.cat([torch.zeros_like(values[:, :1]), values[:, 1:]], dim=1)

    with torch.no_grad():
        before = model(images)
        with intervene(model, {f"blocks.1.{attention}.head_output": off}):
            changed = model(images)
        assert hooks(model) == 0
        torch.testing.assert_close(model(images), before, rtol=0, atol=0)
        getattr(model.blocks[1], attention).out.weight[:, :6] = 0
        torch.testing.assert_close(changed, model(images))
    assert not torch.allclose(changed, before)


def test_the_same_output_changes_nothing(family, images):
    model, attention = family
    with intervene(model, {f"blocks.*.{attention}.*": lambda values: values, "blocks.*": lambda values: values}):
        torch.testing.assert_close(model(images), model(images))


def test_gradients_flow_through_the_change(family, images):
    model, attention = family
    model, images, name = model.double(), images.double(), f"blocks.*.{attention}.head_output"

    def loss(scale):
        with intervene(model, {name: lambda values: values * scale}):
            return model(images).square().sum()

    scale, step = torch.ones((), dtype=torch.float64, requires_grad=True), 1e-5
    loss(scale).backward()
    with torch.no_grad():
        expected = (loss(1 + step) - loss(1 - step)) / (2 * step)
    torch.testing.assert_close(scale.grad, expected, rtol=1e-4, atol=1e-4)
    assert all(parameter.grad is not None for parameter in model.blocks.parameters())


def test_what_is_recorded_inside_is_the_changed_output(family, images):
    model, attention = family
    name = f"blocks.0.{attention}.projection"
    with intervene(model, {name: torch.zeros_like}), record(model, name, "blocks.0") as seen:
        model(images)
    assert not seen[name].any() and seen["blocks.0"].any()


def test_changes_of_one_module_apply_in_their_order(family, images):
    model, attention = family
    name = f"blocks.0.{attention}.head_output"
    changes = {name: lambda values: values + 1, "blocks.0.*.head_output": lambda values: 2 * values}
    with intervene(model, changes), record(model, name) as seen:
        model(images)
    with record(model, name) as before:
        model(images)
    torch.testing.assert_close(seen[name], 2 * (before[name] + 1))


def test_an_intervention_on_the_map_reaches_the_values(images):
    model = build_model("crate_tiny_patch16_224", **TINY).eval()
    alone = {"blocks.0.mssa.attention": lambda attention: torch.eye(attention.shape[-1]).expand_as(attention)}
    with intervene(model, alone), record(model, "blocks.0.mssa.*") as seen:
        model(images)
    torch.testing.assert_close(seen["blocks.0.mssa.head_output"], seen["blocks.0.mssa.projection"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda values: None, "returned a NoneType: it must return a tensor"),
        (
            lambda values: values[:, :1],
            r"returned \(2, 1, 5, 6\) torch\.float32 on cpu, but the output is \(2, 2",
        ),
        (lambda values: values.double(), r"returned \(2, 2, 5, 6\) torch\.float64 on cpu"),
    ],
)
def test_a_change_that_does_not_fit(images, change, told):
    model = build_model("crate_tiny_patch16_224", **TINY).eval()
    with pytest.raises(ValueError, match=told), intervene(model, {"blocks.0.mssa.head_output": change}):
        model(images)
    assert hooks(model) == 0


def test_misses_are_errors(images):
    model = build_model("crate_tiny_patch16_224", **TINY).eval()
    with (
        pytest.raises(ValueError, match=r"'blocks.0.msa.attention'.*blocks\.0\.mssa\.attention"),
        intervene(model, {"blocks.*": lambda values: values, "blocks.0.msa.attention": lambda values: values}),
    ):
        pass
    with pytest.raises(ValueError, match="at least one module"), intervene(model, {}):
        pass
    changes = {"blocks.0.ista": lambda values: values}
    with pytest.raises(RuntimeError, match=r"nothing was changed at blocks\.0\.ista"), intervene(model, changes):
        pass
    assert hooks(model) == 0
