"""Overcomplete dictionary learning: its equation, token by token, and what must hold for any weights."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from crate_transformer.layers import MSSA, ODL, ConvPatchEmbed


def slow_odl(tokens, dictionary, decoder, step_size, sparsity_weight):
    """The paper's iteration from the zero code, one token and one atom at a time; also every step's code."""
    outputs, codes = [], []
    for z in tokens:
        code = torch.zeros(dictionary.shape[1], dtype=z.dtype)
        steps = []
        for _ in range(2):
            residual = dictionary @ code - z
            gradient = [atom @ residual + sparsity_weight for atom in dictionary.T]
            code = torch.stack([(a - step_size * slope).clamp(min=0) for a, slope in zip(code, gradient, strict=True)])
            steps.append(code)
        outputs.append(decoder @ code)
        codes.append(torch.stack(steps))
    return torch.stack(outputs), torch.stack(codes)


@pytest.mark.parametrize(("step_size", "sparsity_weight"), [(0.1, 0.1), (0.3, 0.7)])
@pytest.mark.parametrize("num_atoms", [None, 5])
def test_odl_and_its_gradients_equal_the_slow_equation(num_atoms, step_size, sparsity_weight):
    layer = ODL(6, num_atoms, step_size=step_size, sparsity_weight=sparsity_weight).double()
    assert layer.dictionary.shape == layer.decoupled_dictionary.shape == (6, num_atoms or 24)
    z = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    seen = []
    layer.code.register_forward_hook(lambda _, args, code: seen.append(code))
    ours = layer(z)
    theirs, codes = slow_odl(z, layer.dictionary, layer.decoupled_dictionary, step_size, sparsity_weight)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    torch.testing.assert_close(seen[0], codes[:, 1], rtol=0, atol=1e-12)
    assert 0 < (codes[:, 1] > 0).sum() < codes[:, 1].numel()
    probe = torch.randn_like(z)
    parameters = [z, layer.dictionary, layer.decoupled_dictionary]
    for one, other in zip(
        torch.autograd.grad((ours * probe).sum(), parameters),
        torch.autograd.grad((theirs * probe).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 10))
def test_each_small_step_lowers_the_lasso_objective(seed, scale):
    """1/2 |z - D a|^2 + lambda |a|_1 over a >= 0, with a step below 1/L: the zero code, the first, the second."""
    torch.manual_seed(seed)
    layer = ODL(6, sparsity_weight=0.2).double()
    dictionary = layer.dictionary.detach()
    layer.step_size = 0.9 / torch.linalg.matrix_norm(dictionary, 2).item() ** 2
    z = scale * torch.randn(5, 6, dtype=torch.float64)

    def objective(code):
        return (z - code @ dictionary.T).square().sum(-1) / 2 + 0.2 * code.sum(-1)

    codes = []
    layer.code.register_forward_hook(lambda _, args, code: codes.append(code))
    with torch.no_grad():
        layer(z)
    zero = torch.zeros_like(codes[0])
    first = F.relu(layer.step_size * (z @ dictionary - 0.2))
    assert (codes[0] >= 0).all()
    assert (objective(first) <= objective(zero) + 1e-12).all()
    assert (objective(codes[0]) <= objective(first) + 1e-12).all()
    moved = (codes[0] != first).any(dim=-1)
    assert (objective(codes[0]) < objective(first))[moved].all()


def test_what_a_hook_returns_is_decoded():
    layer = ODL(4)
    layer.code.register_forward_hook(lambda _, args, code: torch.zeros_like(code))
    assert (layer(torch.randn(3, 4)) == 0).all()


@pytest.mark.parametrize(
    ("heads", "output", "has_out"), [(1, None, False), (1, "free", True), (2, None, True), (2, "identity", False)]
)
def test_the_output_map_of_mssa_can_be_chosen(heads, output, has_out):
    layer = MSSA(8, heads, output=output)
    assert len(list(layer.out.parameters())) == 2 * has_out
    assert layer(torch.randn(1, 3, 8)).shape == (1, 3, 8)


def test_a_width_that_needs_an_output_map():
    with pytest.raises(ValueError, match="with the output map 'identity' num_heads 2 times head_dim 3 must be dim 8"):
        MSSA(8, 2, head_dim=3, output="identity")


def test_the_patch_embedding_without_bias_is_linear():
    layer, images = ConvPatchEmbed((2, 2), 3, 5, bias=False), torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(layer(3 * images), 3 * layer(images))
