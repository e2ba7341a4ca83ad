"""Linear maps as oneDNN likes them, and processors that have them in some precisions only."""

import pytest
import torch
from torch import nn

from crate_transformer.layers import pack_linears
from crate_transformer.layers.packed_linear import PackedLinear, can_pack


@pytest.fixture
def model():
    return nn.Sequential(nn.Sequential(nn.Linear(24, 40), nn.ReLU()), nn.Linear(40, 8)).requires_grad_(False)


@pytest.mark.parametrize(
    ("dtype", "question"),
    [(torch.bfloat16, "_is_mkldnn_bf16_supported"), (torch.float16, "_is_mkldnn_fp16_supported")],
)
@pytest.mark.parametrize("of_weights", [False, True])
def test_where_the_processor_lacks_a_precision_the_maps_stay(model, monkeypatch, dtype, question, of_weights):
    monkeypatch.setattr(torch.ops.mkldnn, question, lambda: False)
    model.to(dtype if of_weights else torch.float32)
    z = torch.randn(3, 24).to(model[1].weight.dtype)
    expected = model(z)
    pack_linears(model, None if of_weights else dtype)
    assert not any(isinstance(module, PackedLinear) for module in model.modules())
    assert torch.equal(model(z), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_whatever_can_be_packed_gives_the_same(model, dtype):
    z, exact = torch.randn(3, 24), model.double()
    expected = exact(z.double())
    model.float()
    pack_linears(model, dtype)
    assert sum(isinstance(module, PackedLinear) for module in model.modules()) == (2 if can_pack(dtype) else 0)
    # two maps, each with roundings of weights, input and output, and twice as much for the sums
    spacing = torch.finfo(dtype if can_pack(dtype) else torch.float32).eps
    assert (model(z).double() - expected).norm() <= 6 * spacing * expected.norm()


def test_float64_and_pytorch_without_onednn_pack_nothing(monkeypatch):
    assert not can_pack(torch.float64)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not can_pack(torch.float32)
