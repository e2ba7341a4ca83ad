"""Token statistics attention against slow loops from the paper's equations; what else ToST's layers promise."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from crate_transformer.layers import TSSA, CausalTSSA, ClassAttention, ConvStem, FourierPosition, LayerScale

EXACT = {"rtol": 0, "atol": 1e-12}


def randomised(layer):
    """Away from its symmetric initial values."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return layer


def by_the_equations(layer, z, statistics_of):
    """TSSA of one picture or text, token by token; ``statistics_of(j)`` are the tokens that token j sums over."""
    heads, (tokens, dim) = layer.num_heads, z.shape
    w = (z @ layer.subspaces.weight.T + (0 if layer.subspaces.bias is None else layer.subspaces.bias)).split(
        dim // heads, dim=1
    )
    shares = torch.zeros(heads, tokens, dtype=z.dtype)

    def share(k, j, seen):
        bias = layer.denominator_bias[k, j, 0] if isinstance(layer, CausalTSSA) else 0
        return sum(w[k][j, c] ** 2 / sum(w[k][i, c] ** 2 for i in seen) + bias for c in range(dim // heads))

    for j in range(tokens):
        shares[:, j] = torch.stack([layer.temperature[k] * share(k, j, statistics_of(j)) for k in range(heads)])
    pi = shares.softmax(dim=0)
    rows = []
    for j in range(tokens):
        parts = []
        for k in range(heads):
            seen = statistics_of(j)
            moment = sum(pi[k, i] * w[k][i] ** 2 for i in seen) / (sum(pi[k, i] for i in seen) + 1e-8)
            parts.append(-pi[k, j] * w[k][j] / (1 + moment))
        rows.append(torch.cat(parts))
    return torch.stack(rows) @ layer.out.weight.T + (0 if layer.out.bias is None else layer.out.bias)


@pytest.mark.parametrize("heads", [1, 3])
def test_tssa_is_its_equation(heads):
    layer, z = randomised(TSSA(12, heads)).double(), torch.randn(2, 5, 12, dtype=torch.float64)
    expected = torch.stack([by_the_equations(layer, one, lambda j: range(5)) for one in z])
    torch.testing.assert_close(layer(z), expected, **EXACT)


@pytest.mark.parametrize("bias", [False, True])
def test_causal_tssa_is_its_equation(bias):
    layer, z = randomised(CausalTSSA(12, 3, 8, bias=bias)).double(), torch.randn(2, 5, 12, dtype=torch.float64)
    expected = torch.stack([by_the_equations(layer, one, lambda j: range(j + 1)) for one in z])
    torch.testing.assert_close(layer(z), expected, **EXACT)


def test_tssa_does_not_know_the_order_of_tokens():
    layer, z = randomised(TSSA(8, 2)).double(), torch.randn(1, 6, 8, dtype=torch.float64)
    order = torch.randperm(6)
    torch.testing.assert_close(layer(z)[:, order], layer(z[:, order]), **EXACT)


@pytest.mark.parametrize("layer", [TSSA(8, 2), CausalTSSA(8, 2, 256)], ids=["TSSA", "CausalTSSA"])
def test_a_token_belongs_to_the_heads_in_shares_of_one(layer):
    seen = []
    layer.membership.register_forward_hook(lambda _, args, pi: seen.append(pi))
    layer(torch.randn(3, 7, 8))
    assert seen[0].shape == (3, 2, 7)
    torch.testing.assert_close(seen[0].sum(dim=1), torch.ones(3, 7))


class Largest(TorchDispatchMode):
    """The number of entries of the largest tensor that any operation makes."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.entries = max(self.entries, out.numel())
        return out


@pytest.mark.parametrize(
    "layer", [TSSA(8, 2), CausalTSSA(8, 2, 4096), ClassAttention(8, 2)], ids=["TSSA", "CausalTSSA", "ClassAttention"]
)
def test_memory_is_linear_in_the_tokens(layer):
    largest = []
    for tokens in (1024, 2048):
        with Largest() as mode:
            layer(torch.randn(1, tokens, 8))
        largest.append(mode.entries)
    assert largest[1] <= 2 * largest[0] <= 2 * 3 * 8 * 1024


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_over_tokens_do_not_suffer_from_half_precision(causal, dtype):
    """Squares of 100 and sums of 2048 of them are beyond float16, and bfloat16 stops counting at 256."""
    layer = CausalTSSA(8, 2, 2048) if causal else TSSA(8, 2)
    z = 100 * torch.randn(1, 2048, 8)
    exact = layer.double()(z.double())
    layer.float()
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype):
        ours = layer(z)
    assert ours.dtype == dtype and ours.isfinite().all()
    wholly_half = layer.to(dtype)(z.to(dtype))
    layer.float()
    for result in (ours, wholly_half):
        # a sum over the first few tokens may be as small as the rounding of numbers of 100
        error = (result.double() - exact)[:, 16:].norm() / exact[:, 16:].norm()
        assert error < (0.02 if dtype == torch.bfloat16 else 0.003)


@pytest.mark.parametrize("first", [0.0, 1e-10, 1e-5, 1e-4])
def test_gradients_keep_their_digits_where_the_first_token_is_near_zero(first):
    """Its fraction of its own sum is 1; the slope of that, a difference of two numbers of the size 1 / w, is 0."""
    layer = randomised(CausalTSSA(8, 2, 6))
    torch.nn.init.eye_(layer.subspaces.weight)
    z = torch.randn(32, 6, 8)
    z[:, 0, 0] = first
    gradients = []
    for dtype in (torch.float32, torch.float64):
        leaf = z.to(dtype, copy=True).requires_grad_()
        gradients.append(torch.autograd.grad(layer.to(dtype)(leaf).square().sum(), leaf)[0].double())
    # 40 roundings in a row; those of the second token's share grow as 1 / w, and w is seldom below 0.01 there
    assert (gradients[0] - gradients[1]).norm() <= 1e-5 * gradients[1].norm()


def test_the_class_token_reads_all_tokens_and_alone_is_returned():
    layer, z = randomised(ClassAttention(8, 2)).double(), torch.randn(1, 5, 8, dtype=torch.float64)
    q, k, v = (z[0] @ layer.qkv.weight.T + layer.qkv.bias).split(8, dim=1)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        heads.append(torch.softmax(k[:, part] @ q[0, part] / 2, dim=0) @ v[:, part])
    torch.testing.assert_close(layer(z)[0, 0], layer.out(torch.cat(heads)), **EXACT)
    assert layer(z).shape == (1, 1, 8)


def test_layer_scale():
    layer, z = LayerScale(3, 0.5), torch.randn(2, 4, 3)
    assert torch.equal(layer(z), 0.5 * z)


@pytest.mark.parametrize(("side", "convs"), [(2, 1), (8, 3), (16, 4)])
def test_the_stem_halves_the_picture_until_a_patch_is_one_token(side, convs):
    stem = ConvStem((side, side), 3, 16).eval()
    assert [conv.out_channels for conv in stem.convs] == [16 // 2 ** (convs - 1 - i) for i in range(convs)]
    images = torch.randn(2, 3, 2 * side, 3 * side)
    tokens = stem(images)
    assert tokens.shape == (2, 6, 16)
    for row, column, reached in ((1, 2, [5]), (0, 0, [0, 1, 3, 4])):  # a token sees a little of the patches before it
        other = images.clone()
        other[:, :, row * side : (row + 1) * side, column * side : (column + 1) * side] = 0
        change = (stem(other) - tokens).abs().amax(dim=(0, 2))
        assert [token for token in range(6) if change[token] > 1e-6] == reached


@pytest.mark.parametrize(
    ("patch", "dim", "sentence"),
    [
        ((12, 12), 16, r"patch_size is \(12, 12\): a convolutional stem needs a square of 2, 4, 8, 16"),
        ((8, 16), 16, "needs a square"),
        ((1, 1), 16, "needs a square"),
        ((16, 16), 12, "embed_dim 12 is not a multiple of 8, as patches of 16 pixels require"),
    ],
)
def test_stems_that_cannot_be(patch, dim, sentence):
    with pytest.raises(ValueError, match=sentence):
        ConvStem(patch, 3, dim)


def test_fourier_positions():
    layer = FourierPosition(8, num_waves=4)
    features = layer.features(3, 5)
    assert features.shape == (1, 8, 3, 5)
    turn = torch.tensor(2 * torch.pi * 2 / 3)  # second of three rows
    expected = torch.stack([turn.sin(), turn.cos(), (turn / 100).sin(), (turn / 100).cos()])
    torch.testing.assert_close(features[0, :4, 1, :], expected[:, None].expand(4, 5))
    torch.testing.assert_close(features[0, 4:, :, 4].T[0], torch.tensor([0.0, 1, *_small_turn()]), rtol=0, atol=1e-5)
    assert layer(3, 5).shape == (1, 15, 8)
    assert layer.bfloat16()(3, 5).dtype == torch.bfloat16 and layer.features(3, 5).dtype == torch.float32


def _small_turn():
    turn = torch.tensor(2 * torch.pi / 100)
    return turn.sin().item(), turn.cos().item()


@pytest.mark.parametrize("make", [lambda: TSSA(10, 3), lambda: CausalTSSA(10, 3, 4), lambda: ClassAttention(10, 3)])
def test_width_that_the_heads_do_not_divide(make):
    with pytest.raises(ValueError, match="dim 10 is not a multiple of num_heads 3"):
        make()
