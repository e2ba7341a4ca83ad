"""Softmax attention, fused where that is exact and fast."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crate_transformer.layers.tap import Tap


def attend(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads tokens head_dim"],
    value: Float[Tensor, "batch heads tokens head_dim"],
    tap: Tap,
    *,
    causal: bool = False,
) -> Float[Tensor, "batch heads queries head_dim"]:
    r""":math:`\mathrm{softmax}(p^{-1/2} Q K^\top) V`; the map itself is shown to ``tap`` when somebody listens.

    With ``causal`` a token attends to itself and the tokens before it. PyTorch's fused kernel is used, except
    for 16-bit training on a CPU, where its backward pass is several times slower than the plain products (measured in
    docs/results.md).
    """
    half = query.dtype in (torch.bfloat16, torch.float16)
    fused_is_slow = half and query.device.type == "cpu" and torch.is_grad_enabled()
    if not tap.listening and not fused_is_slow:
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return tap(scores.softmax(dim=-1)).to(value.dtype) @ value
