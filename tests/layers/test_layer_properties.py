"""What must hold for any weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crate_transformer.layers import ISTA, MSSA, HookPoint, resample_position, softmax_attention


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.01, 100))
def test_ista_is_not_negative_and_mssa_follows_permutations(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(2, 6, 8, generator=generator, dtype=torch.float64)
    assert (ISTA(8).double()(z) >= 0).all()
    order = torch.randperm(6, generator=generator)
    layer = MSSA(8, 2).double()
    torch.testing.assert_close(layer(z[:, order]), layer(z)[:, order], rtol=1e-9, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_small_ista_step_lowers_the_lasso_objective(seed):
    """1/2 |z - D a|^2 + lambda |a|_1 over a >= 0, from a = z >= 0, with a step below 1/L."""
    torch.manual_seed(seed)
    layer = ISTA(8, sparsity_weight=0.2).double()
    layer.step_size = 0.9 / torch.linalg.matrix_norm(layer.dictionary.detach(), 2).item() ** 2
    z = torch.rand(5, 8, dtype=torch.float64)

    def objective(code):
        return (z - code @ layer.dictionary.T).square().sum(-1) / 2 + 0.2 * code.sum(-1)

    assert (objective(layer(z)) <= objective(z) + 1e-12).all()


def test_under_autocast_ista_is_as_exact_for_many_tokens_as_for_few():
    """Only the correction is rounded, never the token itself, which would double the error."""
    layer, z = ISTA(64), torch.randn(400, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        together, apart = layer(z), torch.cat([layer(few) for few in z.split(5)])
    exact = layer.double()(z.double())
    assert together.dtype == apart.dtype == torch.float32
    errors = [(ours.double() - exact).norm() for ours in (together, apart)]
    assert errors[0] <= 1.2 * errors[1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_attention_is_the_same_with_and_without_a_hook(dtype, training):
    q, k, v = torch.randn(3, 2, 4, 9, 8).to(dtype)
    plain, hooked, maps = HookPoint(), HookPoint(), []
    hooked.register_forward_hook(lambda _, args, out: maps.append(out))
    with torch.set_grad_enabled(training):
        fast, slow = softmax_attention(q, k, v, plain), softmax_attention(q, k, v, hooked)
    expected = torch.softmax(q.double() @ k.double().mT / 8**0.5, dim=-1)
    tolerance = 4 * torch.finfo(dtype).eps  # rounding of scores, exponentials, their sum and the mixture
    for out in (fast, slow):
        assert out.dtype == dtype
        close = {"rtol": 0, "atol": tolerance * v.abs().max().item()}
        torch.testing.assert_close(out.double(), expected @ v.double(), **close)
    torch.testing.assert_close(maps[0].double(), expected, rtol=0, atol=tolerance)
    assert len(maps) == 1


def test_what_a_hook_returns_takes_the_place_of_the_map():
    hook_point = HookPoint()
    hook_point.register_forward_hook(lambda _, args, out: torch.zeros_like(out))
    q = torch.randn(1, 1, 3, 2)
    assert (softmax_attention(q, q, q, hook_point) == 0).all()


def test_positions_are_kept_at_the_native_size_and_resampled_elsewhere():
    table = torch.randn(1, 1 + 12, 5)
    assert resample_position(table, (3, 4), (3, 4)) is table
    bigger = resample_position(table, (3, 4), (6, 5))
    assert bigger.shape == (1, 31, 5)
    assert torch.equal(bigger[:, 0], table[:, 0])
    ramp = torch.arange(3.0)[:, None].expand(3, 4).reshape(1, 12, 1)
    table = torch.cat([torch.full((1, 1, 1), 9.0), ramp], dim=1)
    image = resample_position(table, (3, 4), (6, 4))[0, 1:, 0].reshape(6, 4)
    assert (image.diff(dim=0) > -0.1).all()  # rises along rows
    torch.testing.assert_close(image, image[:, :1].expand(6, 4))  # constant along columns
    half = resample_position(table.to(torch.bfloat16), (3, 4), (6, 4))
    assert half.dtype == torch.bfloat16
