"""A norm and the following linear map as one kernel."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.kernels import worthwhile
from crate_transformer.layers.full_precision import product_dtype


class NormLinear(nn.Module):
    r""":math:`W\,\mathrm{LN}(z) + b`, optionally with a ReLU: one kernel on a GPU in 16 bits without gradients;
    otherwise separate operators.

    Args:
        tune: whether the kernel tries several tilings for each new shape and keeps the fastest.
    """

    def __init__(self, norm: nn.LayerNorm, linear: nn.Linear, *, relu: bool = False, tune: bool = True) -> None:
        super().__init__()
        self.norm, self.linear, self.relu, self.tune = norm, linear, relu, tune

    def forward(self, z: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        weight, bias, dtype = self.linear.weight, self.linear.bias, product_dtype(self.linear.weight)
        learning = torch.is_grad_enabled() and (z.requires_grad or weight.requires_grad)
        if learning or not worthwhile(z.device, dtype):
            y = self.linear(self.norm(z))
            return F.relu(y) if self.relu else y
        from crate_transformer.kernels.norm_linear import norm_linear

        bias = None if bias is None else bias.to(dtype)
        options = {"eps": self.norm.eps, "relu": self.relu, "tune": self.tune}
        return norm_linear(z, weight.to(dtype), bias, self.norm.weight, self.norm.bias, **options)
