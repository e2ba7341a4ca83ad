"""Normalisation whose affine part has moved into the linear map behind it."""

import torch
from torch import nn


def fold_norm(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[nn.LayerNorm, nn.Linear]:
    r"""A norm without scale and shift, and the linear map that takes them over.

    .. math:: W(\gamma \odot \hat z + \beta) + b = (W\,\mathrm{diag}(\gamma))\,\hat z + (W\beta + b)
    """
    plain = nn.LayerNorm(norm.normalized_shape, eps=norm.eps, elementwise_affine=False)
    with torch.no_grad():
        weight, shift = linear.weight * norm.weight, linear.weight @ norm.bias
        folded = nn.Linear(*weight.shape[::-1], device=weight.device, dtype=weight.dtype)
        folded.weight.copy_(weight)
        folded.bias.copy_(shift if linear.bias is None else shift + linear.bias)
    return plain, folded.requires_grad_(False)
