"""Recording finds modules by name, removes its hooks, and never returns silence."""

import gc
import weakref

import jaxtyping
import pytest
import torch
import torch.utils.checkpoint
from torch import nn

from crate_transformer.inspection import frozen, record
from crate_transformer.models import build_model

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 2, "num_classes": 4}


@pytest.fixture
def crate():
    return build_model("crate_tiny_patch16_224", **TINY).eval()


@pytest.fixture
def images():
    return torch.randn(2, 3, 16, 16)


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_outputs_by_name_in_model_order(crate, images):
    with record(crate, "blocks.*.ista", "blocks.*.mssa.attention") as seen:
        logits = crate(images)
        assert len(seen) == 6
    assert list(seen) == [f"blocks.{layer}.{part}" for layer in range(3) for part in ("mssa.attention", "ista")]
    z = crate.embed(images)
    for layer, block in enumerate(crate.blocks):
        w = block.mssa.subspaces(block.norm1(z)).unflatten(-1, (2, 6)).transpose(1, 2)
        expected = torch.softmax(w @ w.mT / 6**0.5, dim=-1)
        torch.testing.assert_close(seen[f"blocks.{layer}.mssa.attention"], expected.detach())
        z = block(z)
        torch.testing.assert_close(seen[f"blocks.{layer}.ista"], z.detach())
    assert not any(value.requires_grad for value in seen.values())
    torch.testing.assert_close(logits, crate(images))
    assert hooks(crate) == 0


def test_a_star_stays_within_one_part_of_the_name(crate, images):
    with record(crate, "blocks.*") as seen:
        crate(images)
    assert list(seen) == ["blocks.0", "blocks.1", "blocks.2"]
    with record(crate, "blocks.[02].m*.projection") as seen:
        crate(images)
    assert list(seen) == ["blocks.0.mssa.projection", "blocks.2.mssa.projection"]


def test_hooks_are_there_only_inside_the_block(crate, images):
    point = crate.blocks[1].mssa.attention
    with record(crate, "blocks.1.mssa.attention") as seen:
        assert point.has_hooks
        crate(images)
    assert not point.has_hooks
    assert seen["blocks.1.mssa.attention"].shape == (2, 2, 5, 5)


def test_the_latest_pass_counts_and_reduce_is_applied(crate, images):
    with record(crate, "blocks.*.ista", reduce=lambda z: z.mean(dim=(1, 2))) as seen:
        crate(images)
        first = dict(seen)
        crate(images.flip(0))
    for name, values in seen.items():
        assert values.shape == (2,)
        torch.testing.assert_close(values, first[name].flip(0))


def test_hooks_are_removed_when_the_block_or_the_model_fails(crate, images):
    with pytest.raises(KeyError, match="mine"), record(crate, "blocks.*.ista"):
        raise KeyError("mine")
    assert hooks(crate) == 0
    with pytest.raises(ValueError, match="not a multiple"), record(crate, "blocks.*.ista"):
        crate(images[..., :15])
    assert hooks(crate) == 0


def test_a_pattern_without_match_names_the_nearest(crate):
    with (
        pytest.raises(ValueError, match=r"'blocks.0.msa.attention'.*blocks\.0\.mssa\.attention"),
        record(crate, "blocks.*.ista", "blocks.0.msa.attention"),
    ):
        pass
    assert hooks(crate) == 0
    with pytest.raises(ValueError, match="at least one module"), record(crate):
        pass


def test_a_module_that_never_ran_is_an_error(crate):
    with pytest.raises(RuntimeError, match=r"blocks\.0\.ista"), record(crate, "blocks.0.ista"):
        pass


def test_hooks_that_torch_compile_skips_are_an_error(crate, images, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # Dynamo cannot trace the shape checks of tests
    torch._dynamo.reset()
    compiled = torch.compile(crate, backend="eager")
    expected = compiled(images)
    with pytest.raises(RuntimeError, match="compiled"), record(compiled, "blocks.*.mssa.attention"):
        compiled(images)
    assert hooks(crate) == 0
    with record(crate, "blocks.*.mssa.attention") as seen:
        torch.testing.assert_close(crate(images), expected)
    assert len(seen) == 3


def test_works_under_autocast_and_for_vit(images):
    vit = build_model("vit_tiny_patch16_224", **TINY).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16), record(vit, "blocks.*.attn.attention") as seen:
        vit(images)
    assert list(seen) == [f"blocks.{layer}.attn.attention" for layer in range(3)]
    for attention in seen.values():
        torch.testing.assert_close(attention.float().sum(-1), torch.ones(2, 2, 5), atol=1e-2, rtol=0)


def test_an_exception_in_reduce_removes_the_hooks(crate, images):
    def broken(output):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), record(crate, "blocks.*.ista", reduce=broken):
        crate(images)
    assert hooks(crate) == 0
    assert not crate.blocks[0].mssa.attention.has_hooks


def test_a_model_first_run_under_record_and_compiled_keeps_answering(crate, images, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    torch._dynamo.reset()
    compiled = torch.compile(crate, backend="eager")
    for scale in (1, 2):
        with torch.no_grad(), record(crate, "blocks.*.mssa.attention") as expected:
            crate(scale * images)
        with torch.no_grad(), record(compiled, "blocks.*.mssa.attention") as seen:
            compiled(scale * images)
        torch.testing.assert_close(dict(seen), dict(expected))


@pytest.mark.parametrize("pattern", ["blocks.*.mssa.attention", "blocks.*.mssa.projection"])
def test_gradient_checkpointing_changes_neither_values_nor_gradients(crate, images, pattern):
    found = []
    for checkpointing in (False, True):
        crate.set_grad_checkpointing(checkpointing)
        crate.zero_grad()
        with record(crate, pattern, reduce=lambda values: values.square().mean(dim=0)) as seen:
            crate(images).square().sum().backward()
        found.append((dict(seen), [parameter.grad.clone() for parameter in crate.parameters()]))
    torch.testing.assert_close(*found)
    assert hooks(crate) == 0


def test_a_backward_pass_that_runs_layers_again_unrecorded_is_an_error(crate, images):
    crate.set_grad_checkpointing()
    with record(crate, "blocks.*.mssa.attention"):
        loss = crate(images).sum()
    with pytest.raises(torch.utils.checkpoint.CheckpointError):
        loss.backward()


def test_reduced_values_are_all_that_is_kept(crate):
    kept = []

    def first_row(attention):
        kept.append(weakref.ref(attention))
        return attention[:, :, 0].clone()

    with torch.inference_mode(), record(crate, "blocks.*.mssa.attention", reduce=first_row) as seen:
        crate(torch.randn(2, 3, 32, 32))
    gc.collect()
    assert len(kept) == 3
    assert all(reference() is None for reference in kept)
    assert {tuple(values.shape) for values in seen.values()} == {(2, 2, 17)}


def test_a_frozen_model_gets_back_the_mode_of_every_part():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(nn.Dropout(), nn.BatchNorm2d(3)))
    model[1][1].eval()
    before = [part.training for part in model.modules()]
    statistics = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ZeroDivisionError), frozen(model):
        assert not any(part.training for part in model.modules())
        model(torch.randn(2, 3, 4, 4))
        raise ZeroDivisionError
    assert [part.training for part in model.modules()] == before
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, statistics[name], rtol=0, atol=0)
