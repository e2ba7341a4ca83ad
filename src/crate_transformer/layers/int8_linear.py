"""Weights stored in eight bits."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Int8Linear(nn.Module):
    r"""A linear map whose weight is stored as :math:`\mathrm{diag}(s)\,Q` with integers :math:`|Q_{ij}| \le 127` and
    one scale :math:`s_i = \max_j |W_{ij}| / 127` per output; it computes in the precision of the input.

    For inference only: a quarter of the size, but not faster by itself.
    """

    quantised: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scale = (weight.abs().amax(dim=1, keepdim=True) / 127).clamp(min=torch.finfo(weight.dtype).tiny)
        self.register_buffer("quantised", (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, z: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        return F.linear(z, self.quantised.to(z.dtype) * self.scale.to(z.dtype), self.bias)


def quantise_linears(model: nn.Module, *, smallest: int = 4096) -> None:
    """Replace every linear map with at least ``smallest`` weights, in place."""
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and module.weight.numel() >= smallest:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, Int8Linear(module))
