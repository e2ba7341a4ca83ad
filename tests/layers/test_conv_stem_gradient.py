"""The stem's gradients: for one picture, PyTorch 2.13's batch norm on a CPU gets those of some layouts wrong."""

import copy

import pytest
import torch
from torch import nn

from crate_transformer.layers import ConvStem


class WrittenOut(nn.Module):
    """Batch normalisation as its equation."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        if self.norm.training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        else:
            mean, variance = self.norm.running_mean, self.norm.running_var
        mean, scale = (part[:, None, None] for part in (mean, self.norm.weight / (variance + self.norm.eps).sqrt()))
        return (x - mean) * scale + self.norm.bias[:, None, None]


LAYOUTS = {
    "tokens last": lambda g: g.mT.contiguous().mT,
    "channels last": lambda g: g.contiguous(),
    "odd stride of the batch": lambda g: g.as_strided(g.shape, (g.shape[2], g.shape[2], 1)) if len(g) == 1 else g,
    "one for all tokens": lambda g: g[:, :1].expand(g.shape),
}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_are_right_in_every_layout(layout, memory_format, training, batch):
    stem = ConvStem((4, 4), 3, 16).double().train(training)
    for norm in stem.norms:
        norm.momentum = 0.0
        nn.init.normal_(norm.weight)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    exact = copy.deepcopy(stem)
    exact.norms = nn.ModuleList(WrittenOut(norm) for norm in exact.norms)
    images = torch.randn(batch, 3, 8, 12, dtype=torch.float64).contiguous(memory_format=memory_format)
    on_tokens = LAYOUTS[layout](torch.randn(batch, 6, 16, dtype=torch.float64))
    gradients = []
    for module in (stem, exact):
        leaf = images.clone().requires_grad_()
        gradients.append(torch.autograd.grad(module(leaf), [leaf, *module.parameters()], on_tokens))
    whole = max(gradient.norm() for gradient in gradients[1])
    for ours, right in zip(*gradients, strict=True):
        assert (ours - right).norm() <= 1e-12 * whole
