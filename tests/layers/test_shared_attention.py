"""The attention of one projection with itself, where the fused kernel is not used."""

import sys

import pytest
import torch

from crate_transformer.layers import MSSA
from crate_transformer.layers.softmax_attention import SharedAttention

MODULE = sys.modules[SharedAttention.__module__]


@pytest.mark.parametrize("in_cache", [1, 100, 2**20])  # one head at a time, two, all at once
def test_values_and_gradients_of_the_equation(in_cache, monkeypatch):
    monkeypatch.setattr(MODULE, "IN_CACHE", in_cache)
    w = torch.randn(3, 7, 2, 5, dtype=torch.float64).transpose(1, 2).requires_grad_()
    expected = (w @ w.transpose(-2, -1) * 5**-0.5).softmax(dim=-1) @ w
    torch.testing.assert_close(SharedAttention.apply(w), expected, rtol=1e-12, atol=1e-12)
    on_output = torch.randn_like(expected)
    ours = torch.autograd.grad(SharedAttention.apply(w), w, on_output)[0]
    theirs = torch.autograd.grad(expected, w, on_output)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(SharedAttention.apply, (w,))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fast", [False, True])
def test_16_bits_on_a_cpu_take_it_where_their_products_are_fast(fast, dtype, training, monkeypatch):
    monkeypatch.setattr(MODULE, "fast_products", lambda asked: asked == dtype and fast)
    layer = MSSA(32, 4)
    z = torch.randn(5, 9, 32)
    exact = layer.double()(z.double())
    layer.float()
    with torch.autocast("cpu", dtype=dtype), torch.set_grad_enabled(training):
        close = layer(z)
    assert close.dtype == dtype
    assert ("SharedAttention" in names(close.grad_fn)) == (training and fast)
    # a dozen roundings, of inputs, weights, projection, map and mixture, each of half a spacing
    assert (close.double() - exact).norm() <= 12**0.5 * torch.finfo(dtype).eps * exact.norm()


def test_no_tokens_give_none():
    assert MSSA(16, 2).bfloat16()(torch.randn(2, 0, 16).bfloat16()).shape == (2, 0, 16)


@pytest.mark.usefixtures("unchecked")
def test_exported_it_takes_any_batch(monkeypatch):
    monkeypatch.setattr(MODULE, "IN_CACHE", 100)
    layer = MSSA(16, 2).bfloat16().requires_grad_(False)
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    exported = torch.export.export(
        layer, (torch.randn(2, 9, 16).bfloat16(),), dynamic_shapes=shapes, strict=False
    ).module()
    z = torch.randn(5, 9, 16).bfloat16()
    torch.testing.assert_close(exported(z), layer(z), rtol=0.05, atol=0.02)


def names(node):
    """The kinds of every node behind a result."""
    found, open_nodes = "", [node]
    while open_nodes:
        if (node := open_nodes.pop()) is not None:
            found += type(node).__name__
            open_nodes += [parent for parent, _ in node.next_functions]
    return found
