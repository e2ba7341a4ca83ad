"""Layers against slow loops written from the papers' equations, in float64."""

import pytest
import torch
import torch.nn.functional as F

from crate_transformer.layers import ISTA, MLP, MSSA, Attention, ConvPatchEmbed, PatchEmbed

EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("dim", "heads", "head_dim"), [(12, 3, None), (10, 3, 4), (8, 1, None)])
def test_mssa_is_the_sum_over_subspaces(dim, heads, head_dim):
    layer = MSSA(dim, heads, head_dim=head_dim)
    p = head_dim or dim // heads
    z = torch.randn(2, 5, dim)
    expected = torch.zeros(2, 5, dim)
    for image in range(2):
        big_z = z[image].T  # columns are tokens, as in the paper
        stacked = []
        for k in range(heads):
            basis_t = layer.subspaces.weight[k * p : (k + 1) * p]  # U_k^T
            w = basis_t @ big_z
            stacked.append(w @ torch.softmax(w.T @ w / p**0.5, dim=0))
        stacked = torch.cat(stacked)
        if heads == 1:
            expected[image] = stacked.T
        else:
            expected[image] = (layer.out.weight @ stacked + layer.out.bias[:, None]).T
    torch.testing.assert_close(layer(z), expected, **EXACT)


def test_one_head_of_full_width_has_no_output_map():
    assert not list(MSSA(8, 1).out.parameters())
    assert MSSA(8, 1, head_dim=4).out.weight.shape == (8, 4)
    assert MSSA(8, 2, out_bias=False).out.bias is None


def unfolded_ista(z, dictionary, step_size, sparsity_weight):
    """ReLU(z + eta D^T (z - D z) - eta lambda), token by token, three products."""
    return torch.stack(
        [
            F.relu(
                t
                + step_size * dictionary.T @ t
                - step_size * dictionary.T @ (dictionary @ t)
                - step_size * sparsity_weight
            )
            for t in z
        ]
    )


@pytest.mark.parametrize(("step_size", "sparsity_weight"), [(0.1, 0.1), (0.3, 0.7)])
def test_ista_and_its_gradients_equal_the_unfolded_equation(step_size, sparsity_weight):
    layer = ISTA(9, step_size=step_size, sparsity_weight=sparsity_weight)
    z = torch.randn(7, 9, requires_grad=True)
    probe = torch.randn(7, 9)
    folded = layer(z)
    unfolded = unfolded_ista(z, layer.dictionary, step_size, sparsity_weight)
    torch.testing.assert_close(folded, unfolded, **EXACT)
    ours = torch.autograd.grad((folded * probe).sum(), [z, layer.dictionary])
    theirs = torch.autograd.grad((unfolded * probe).sum(), [z, layer.dictionary])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def test_patch_embedding_takes_rows_then_columns_then_channels():
    layer = PatchEmbed((2, 3), 2, 5)
    images = torch.randn(1, 2, 4, 9)
    tokens = []
    for top in range(0, 4, 2):
        for left in range(0, 9, 3):
            patch = [images[0, c, top + r, left + s] for r in range(2) for s in range(3) for c in range(2)]
            normed = F.layer_norm(torch.stack(patch), (12,))
            tokens.append(F.layer_norm(layer.proj.weight @ normed + layer.proj.bias, (5,)))
    torch.testing.assert_close(layer(images)[0], torch.stack(tokens), **EXACT)


def test_convolutional_patch_embedding_is_a_linear_map_of_each_patch():
    layer = ConvPatchEmbed((2, 3), 2, 5)
    images = torch.randn(1, 2, 4, 9)
    patches = [images[0, :, top : top + 2, left : left + 3] for top in range(0, 4, 2) for left in range(0, 9, 3)]
    expected = torch.stack([(layer.proj.weight * patch).sum(dim=(1, 2, 3)) + layer.proj.bias for patch in patches])
    torch.testing.assert_close(layer(images)[0], expected, **EXACT)


def test_attention_per_head():
    layer = Attention(8, 2)
    z = torch.randn(1, 5, 8)
    q, k, v = (z[0] @ layer.qkv.weight.T + layer.qkv.bias).split(8, dim=1)
    heads = []
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        heads.append(torch.softmax(q[:, part] @ k[:, part].T / 2, dim=1) @ v[:, part])
    torch.testing.assert_close(layer(z)[0], layer.out(torch.cat(heads, dim=1)), **EXACT)


def test_mlp():
    layer = MLP(4, 6)
    z = torch.randn(3, 4)
    hidden = z @ layer.fc1.weight.T + layer.fc1.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    torch.testing.assert_close(layer(z), hidden @ layer.fc2.weight.T + layer.fc2.bias, **EXACT)


@pytest.mark.parametrize("layer_class", [MSSA, Attention])
def test_width_that_heads_do_not_divide(layer_class):
    with pytest.raises(ValueError, match="dim 10 is not a multiple of num_heads 3"):
        layer_class(10, 3)
