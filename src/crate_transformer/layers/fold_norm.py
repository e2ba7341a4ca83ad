"""Folding the affine part of a norm into the following linear map, for inference."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def frozen_linear(weight: Float[Tensor, "outputs inputs"], bias: Float[Tensor, " outputs"] | None = None) -> nn.Linear:
    """A linear map with copies of these values, without gradients."""
    linear = nn.Linear(*weight.shape[::-1], bias=bias is not None, device="meta")
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            copied = value.detach().clone(memory_format=torch.contiguous_format)
            setattr(linear, name, nn.Parameter(copied, requires_grad=False))
    return linear


def fold_norm(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[nn.LayerNorm, nn.Linear]:
    r"""A norm without scale and shift, and the linear map that includes them.

    .. math:: W(\gamma \odot \hat z + \beta) + b = (W\,\mathrm{diag}(\gamma))\,\hat z + (W\beta + b)
    """
    plain = nn.LayerNorm(list(norm.normalized_shape), eps=norm.eps, elementwise_affine=False)
    bias = linear.bias
    if norm.bias is not None:
        shift = linear.weight @ norm.bias
        bias = shift if bias is None else bias + shift
    return plain, frozen_linear(linear.weight * norm.weight, bias)
