"""The steps of Hyper-SET are the gradients of its energies; what its other layers promise."""

import math

import pytest
import torch

from crate_transformer.inspection import attention_maps, energy_steps, record
from crate_transformer.layers import EnergyAttention, EnergyFeedForward, LowRank, RMSNorm, StepSizes, rms_norm
from crate_transformer.models import build_model

EXACT = {"rtol": 0, "atol": 1e-12}
TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 3, "num_heads": 3, "num_classes": 2}


def unit(*shape):
    """Vectors whose mean square is 1."""
    return rms_norm(torch.randn(*shape, dtype=torch.float64))


def through_the_norm(w, gradient):
    """A gradient behind an RMSNorm at vectors of mean square 1, in front of it."""
    return gradient - w * (w * gradient).mean(dim=-1, keepdim=True)


@pytest.mark.parametrize("energy", ["softmax", "sigma", "sigma_square", "relu", "sigmoid", "silu"])
def test_attention_is_the_gradient_of_its_energy(energy):
    heads, p = 3, 4
    layer = EnergyAttention(heads * p, heads, energy=energy).double()
    with torch.no_grad():
        layer.subspaces.weight.copy_(torch.eye(heads * p))
    w = unit(2, 5, heads, p)
    z = w.flatten(2).requires_grad_()
    (found,) = torch.autograd.grad(layer.energy(z).sum(), z)
    factor = p**-0.5 if energy == "relu" else 1.0  # the released code leaves it out of the step
    expected = factor * through_the_norm(w, layer(z).detach().unflatten(2, (heads, p))).flatten(2)
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("energy", ["relu", "softmax", "sigmoid", "silu"])
def test_feed_forward_is_minus_the_gradient_of_its_energy(energy):
    layer = EnergyFeedForward(6, 6, energy=energy).double()
    with torch.no_grad():
        layer.dictionary.weight.copy_(torch.eye(6))
    z = unit(2, 5, 6).requires_grad_()
    (found,) = torch.autograd.grad(layer.energy(z).sum(), z)
    torch.testing.assert_close(found, -through_the_norm(z, layer(z)).detach(), **EXACT)


def test_the_score_is_a_loop_over_tokens():
    layer, z = EnergyAttention(8, 2).double(), torch.randn(1, 4, 8, dtype=torch.float64)
    w = (z[0] @ layer.subspaces.weight.detach().T).unflatten(1, (2, 4))
    out = torch.zeros(4, 2, 4, dtype=torch.float64)
    for k in range(2):
        v = rms_norm(w[:, k])
        e = torch.tensor([[math.exp(v[i] @ v[j] / 2) for j in range(4)] for i in range(4)], dtype=torch.float64)
        for i in range(4):
            out[i, k] = sum((e[i, j] / e[i].sum() + e[i, j] / e[:, j].sum()) * v[j] for j in range(4))
    torch.testing.assert_close(layer(z)[0], out.flatten(1) @ layer.subspaces.weight, **EXACT)


@torch.no_grad()
def test_its_attention_rows_are_the_softmax_over_rows():
    model = build_model("hyper_set_512_patch14_224", **TINY).double()
    images = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    with record(model, "blocks.1.attn.query", "blocks.1.attn.key") as seen:
        model(images)
    query, key = seen.values()
    rows = ((query[:, :, :1] / 2) @ key[:, :, 1:].mT).softmax(dim=-1)
    found = torch.from_numpy(attention_maps(model, images, layers=[1]).maps)[:, 0].flatten(2)
    torch.testing.assert_close(found, rows[:, :, 0], **EXACT)


def test_small_steps_with_orthogonal_weights_lower_both_energies():
    model = build_model("hyper_set_512_patch14_224", **TINY, steps="constant", step_size=1e-3, feed_forward="relu")
    with torch.no_grad():
        for block in model.double().blocks:
            torch.nn.init.orthogonal_(block.attn.subspaces.weight)
            torch.nn.init.orthogonal_(block.ff.dictionary.weight)
    steps = energy_steps(model, torch.randn(4, 3, 16, 16))
    assert steps.attention_before.shape == (4, 3)
    assert (steps.attention_lowered == 1).all() and (steps.feed_forward_lowered == 1).all()


def test_steps_start_at_zero_and_energies_need_a_hyper_set():
    model = build_model("hyper_set_512_patch14_224", **TINY)
    steps = energy_steps(model, [torch.randn(2, 3, 16, 16), torch.randn(1, 3, 16, 16)])
    assert (steps.attention_after == steps.attention_before).all() and len(steps.attention_after) == 3
    with pytest.raises(ValueError, match="a ViT has no energies: give a HyperSET"):
        energy_steps.__wrapped__(build_model("vit_tiny_patch16_224", **TINY), torch.randn(1, 3, 16, 16))
    with pytest.raises(ValueError, match="at least one image"):
        energy_steps(model, torch.randn(0, 3, 16, 16))


def test_step_sizes_follow_the_number_of_the_step_and_the_tokens():
    first, second = StepSizes(4, 8, 1), StepSizes(4, 8, 2)
    z = torch.randn(2, 3, 4)
    assert all((sizes == 0).all() for sizes in first(z))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(torch.randn_like(parameter))
    second.load_state_dict(first.state_dict())
    assert not torch.allclose(first(z)[0], second(z)[0]) and not torch.allclose(first(z)[0], first(2 * z + 1)[0])
    with pytest.raises(ValueError, match="time_dim is 7: it must be even and at least 4"):
        StepSizes(4, 7, 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_rms_norm(dtype):
    x, norm = torch.randn(3, 8).to(dtype), RMSNorm(8).to(dtype)
    exact = x.double() / x.double().square().mean(dim=-1, keepdim=True).sqrt()
    torch.testing.assert_close(norm(x).double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=0)
    assert norm(x).dtype == dtype and (norm(torch.zeros(8, dtype=dtype)) == 0).all()


def test_low_rank():
    change = LowRank(6, 2, 8.0)
    assert torch.linalg.matrix_rank(change()) == 2
    torch.testing.assert_close(change(), 4 * change.left @ change.right)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"class_token": False}, "class_token is False: set global_pool to 'avg'"),
        ({"rank": 2, "num_atoms": 24}, "rank is 2: it must be 0 or more, and above 0 num_atoms must be embed_dim"),
        ({"rank": -1}, "rank is -1"),
    ],
)
def test_options_that_do_not_fit(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_model("hyper_set_512_patch14_224", **TINY, **options)
