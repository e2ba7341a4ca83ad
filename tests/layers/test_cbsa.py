"""Contract-and-broadcast attention against slow loops from the paper's algorithm; what else the layer promises."""

import pytest
import torch
import torch.nn.functional as F

from crate_transformer.layers import CBSA, capture, grid_means

EXACT = {"rtol": 0, "atol": 1e-12}
every_pooling = pytest.mark.parametrize("pooling", ["plain", "shifted"])


def double(pooling="plain", dim=12, heads=3):
    return CBSA(dim, heads, pooling=pooling).double()


def by_the_equations(layer, z, grid):
    """One image, head by head, representative by representative, token by token."""
    heads, dim = [], z.shape[1]
    w_all = z @ layer.subspaces.weight.T
    p = dim // layer.num_heads
    for k in range(layer.num_heads):
        w = w_all[:, k * p : (k + 1) * p]
        pooled = w[:-1] if layer.pooling == "shifted" else w[1:]
        start = F.adaptive_avg_pool2d(pooled.T.reshape(p, *grid), 8).reshape(p, 64).T
        a = torch.stack([torch.softmax(torch.stack([r @ token for token in w]) / p**0.5, dim=0) for r in start])
        moved = [
            r + layer.representative_step[k] * sum(a[i, j] * w[j] for j in range(len(w))) for i, r in enumerate(start)
        ]
        r = torch.stack(moved)
        c = torch.stack([torch.softmax(r @ one / p**0.5, dim=0) @ r for one in r])
        heads.append(torch.stack([layer.token_step[k] * (a[:, j] @ c) for j in range(len(w))]))
    return torch.cat(heads, dim=1) @ layer.out.weight.T + layer.out.bias


@every_pooling
@pytest.mark.parametrize("grid", [(3, 3), (8, 8), (10, 6)])
def test_it_is_its_equation(pooling, grid):
    layer, z = double(pooling), torch.randn(2, 1 + grid[0] * grid[1], 12, dtype=torch.float64)
    expected = torch.stack([by_the_equations(layer, one, grid) for one in z])
    torch.testing.assert_close(layer(z, grid), expected, **EXACT)


def test_without_a_grid_the_patches_are_a_square():
    layer, z = double(), torch.randn(2, 26, 12, dtype=torch.float64)
    assert torch.equal(layer(z), layer(z, (5, 5)))
    with pytest.raises(ValueError, match="24 patches after a class token do not form a square: give grid="):
        layer(z[:, 1:])
    with pytest.raises(ValueError, match="0 patches after"):
        layer(z[:, :1])


@pytest.mark.parametrize("prefix", [0, 1, 4])
def test_plain_pooling_takes_the_last_tokens_for_patches(prefix):
    w = torch.randn(1, 3, prefix + 64, 4, dtype=torch.float64)
    torch.testing.assert_close(grid_means(w, (8, 8), "plain"), w[:, :, prefix:], **EXACT)


@every_pooling
def test_a_row_of_its_attention_is_that_of_the_coefficients_products(pooling):
    layer, z = double(pooling), torch.randn(2, 26, 12, dtype=torch.float64)
    with capture([layer.coefficients]) as seen:
        layer(z)
    (a,) = seen
    torch.testing.assert_close(a.sum(dim=2), torch.ones(2, 3, 64, dtype=torch.float64))
    products = torch.einsum("bhim, bhjm -> bhij", a, a)
    expected = products / products.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(layer.rows(a, a), expected, **EXACT)


def test_heads_of_another_width_are_refused():
    with pytest.raises(ValueError, match="dim 10 is not a multiple of num_heads 3"):
        CBSA(10, 3)
