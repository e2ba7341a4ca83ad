"""Coding rates against slow float64 loops, and where the naive determinant fails."""

import math

import pytest
import torch

from crate_transformer import objective

SHAPES = [(5, 3), (3, 5), (4, 4), (1, 6), (7, 1), (40, 12)]


def slow_rate(z: torch.Tensor, epsilon_squared: float) -> float:
    """The equation, entry by entry, in float64, with the eigenvalues of the larger or smaller Gram matrix alike."""
    tokens, dim = z.shape
    gram = torch.zeros(dim, dim, dtype=torch.float64)
    for token in z.double():
        gram += torch.outer(token, token)
    matrix = torch.eye(dim, dtype=torch.float64) + dim / (tokens * epsilon_squared) * gram
    return 0.5 * math.log(torch.det(matrix))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("epsilon_squared", [0.01, 0.5])
def test_equals_the_slow_loop(shape, epsilon_squared):
    z = torch.randn(2, 3, *shape, dtype=torch.float64)
    rate = objective.coding_rate(z, epsilon_squared=epsilon_squared)
    expected = torch.tensor([[slow_rate(item, epsilon_squared) for item in row] for row in z], dtype=torch.float64)
    torch.testing.assert_close(rate, expected, atol=1e-10, rtol=1e-12)
    single = objective.coding_rate(z.float(), epsilon_squared=epsilon_squared)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, atol=1e-5, rtol=1e-6)


def test_one_token_has_a_closed_form():
    z = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    assert objective.coding_rate(z, epsilon_squared=0.5).item() == pytest.approx(0.5 * math.log(1 + 2 / 0.5 * 25))


def test_subspace_rate_is_the_sum_over_heads():
    projected = torch.randn(2, 4, 9, 5, dtype=torch.float64)
    rate = objective.subspace_coding_rate(projected, epsilon_squared=0.02)
    expected = torch.tensor([sum(slow_rate(head, 0.02) for head in item) for item in projected], dtype=torch.float64)
    torch.testing.assert_close(rate, expected, atol=1e-10, rtol=1e-12)


def test_rotation_and_order_of_tokens_do_not_matter():
    z = torch.randn(10, 6, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    rate = objective.coding_rate(z, epsilon_squared=0.1)
    torch.testing.assert_close(objective.coding_rate(z @ rotation, epsilon_squared=0.1), rate)
    torch.testing.assert_close(objective.coding_rate(z.flip(0), epsilon_squared=0.1), rate)


def test_large_values_where_the_naive_determinant_overflows():
    z = 100 * torch.randn(197, 64)
    naive = 0.5 * torch.det(torch.eye(64) + 64 / (197 * 0.01) * z.T @ z).log()
    assert torch.isinf(naive)
    expected = slow_rate_by_singular_values(z, 0.01)
    assert objective.coding_rate(z, epsilon_squared=0.01).item() == pytest.approx(expected, rel=1e-6)


def slow_rate_by_singular_values(z: torch.Tensor, epsilon_squared: float) -> float:
    values = torch.linalg.svdvals(z.double())
    return 0.5 * (z.shape[1] / (z.shape[0] * epsilon_squared) * values**2).log1p().sum().item()


@pytest.mark.parametrize("epsilon_squared", [1e-2, 1e-8])
def test_rank_deficient_tokens_where_float32_has_no_cholesky_factor(epsilon_squared):
    z = 30 * torch.randn(50, 1) @ torch.randn(1, 20)
    z[:, 10:] = z[:, :10]
    matrix = torch.eye(20) + 20 / (50 * epsilon_squared) * z.T @ z
    if epsilon_squared < 1e-4:
        assert torch.linalg.cholesky_ex(matrix).info > 0
    z.requires_grad_()
    rate = objective.coding_rate(z, epsilon_squared=epsilon_squared)
    assert rate.item() == pytest.approx(slow_rate_by_singular_values(z.detach(), epsilon_squared), rel=1e-3)
    rate.backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e10, 1e18])
@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_extreme_scales_stay_finite(scale, shape):
    z = torch.ones(3, *shape) * scale
    z.requires_grad_()
    rate = objective.coding_rate(z, epsilon_squared=1e-6)
    rate.sum().backward()
    assert rate.isfinite().all()
    assert z.grad.isfinite().all()
    assert (rate >= 0).all()


def test_gradients_are_right():
    z = torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    wide = torch.randn(2, 3, 6, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: objective.coding_rate(x, epsilon_squared=0.1), z)
    assert torch.autograd.gradcheck(lambda x: objective.subspace_coding_rate(x, epsilon_squared=0.1), wide)
    assert torch.autograd.gradcheck(lambda a, b: objective.rate_reduction(a, b, epsilon_squared=0.1), (z, wide))


def test_autocast_and_half_precision_input_do_not_lower_the_precision():
    z = torch.randn(20, 8)
    exact = objective.coding_rate(z.double(), epsilon_squared=0.01)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rate = objective.coding_rate(z, epsilon_squared=0.01)
    assert rate.dtype == torch.float32
    torch.testing.assert_close(rate.double(), exact, atol=1e-5, rtol=1e-6)
    half = z.bfloat16()
    rate = objective.coding_rate(half, epsilon_squared=0.01)
    assert rate.dtype == torch.float32
    torch.testing.assert_close(rate, objective.coding_rate(half.float(), epsilon_squared=0.01))


def test_rate_reduction_and_the_whole_objective():
    z = torch.randn(3, 10, 8, dtype=torch.float64).relu().requires_grad_()
    projected = torch.randn(3, 2, 10, 4, dtype=torch.float64)
    reduction = objective.rate_reduction(z, projected, epsilon_squared=0.1)
    whole = objective.sparse_rate_reduction(z, projected, epsilon_squared=0.1, sparsity_weight=0.25)
    for item in range(3):
        expected = slow_rate(z[item].detach(), 0.1) - sum(slow_rate(head, 0.1) for head in projected[item])
        assert reduction[item].item() == pytest.approx(expected, abs=1e-9)
        nonzeros = sum(value != 0 for value in z[item].flatten().tolist())
        assert 0 < nonzeros < 80
        assert whole[item].item() == pytest.approx(expected - 0.25 * nonzeros, abs=1e-9)
    (with_sparsity,) = torch.autograd.grad(whole.sum(), z)
    (without,) = torch.autograd.grad(reduction.sum(), z)
    torch.testing.assert_close(with_sparsity, without, atol=0, rtol=0)


def test_nonzero_fraction_counts_exact_zeros():
    z = torch.tensor([[[0.0, 1.0], [-2.0, 0.0]], [[1e-30, 1.0], [1.0, 0.0]]])
    torch.testing.assert_close(objective.nonzero_fraction(z), torch.tensor([0.5, 0.75]))
    assert objective.nonzero_fraction(z.bfloat16()).dtype == torch.float32
    assert objective.nonzero_fraction(z.double()).dtype == torch.float64
    z[1, 1, 0] = torch.nan
    torch.testing.assert_close(objective.nonzero_fraction(z), torch.tensor([0.5, torch.nan]), equal_nan=True)


@pytest.mark.parametrize("epsilon_squared", [0.0, -1.0, float("nan")])
def test_a_non_positive_error_is_refused(epsilon_squared):
    with pytest.raises(ValueError, match=f"epsilon_squared is {epsilon_squared}"):
        objective.coding_rate(torch.randn(3, 2), epsilon_squared=epsilon_squared)


def test_zero_tokens_are_refused():
    with pytest.raises(ValueError, match="zero tokens"):
        objective.coding_rate(torch.zeros(2, 0, 4), epsilon_squared=0.1)
    with pytest.raises(ValueError, match="0 tokens"):
        objective.nonzero_fraction(torch.zeros(2, 0, 4))
