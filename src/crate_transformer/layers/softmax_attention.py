"""Softmax attention, with a fused kernel where that is exact and fast."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crate_transformer.layers.fast_products import fast_products
from crate_transformer.layers.full_precision import full_precision
from crate_transformer.layers.hook_point import HookPoint

PLAIN_UP_TO = 1024  # tokens
IN_CACHE = 2**20  # number of map entries computed at a time


def softmax_attention(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads tokens head_dim"],
    value: Float[Tensor, "batch heads tokens head_dim"],
    hook_point: HookPoint,
    *,
    causal: bool = False,
) -> Float[Tensor, "batch heads queries head_dim"]:
    r""":math:`\mathrm{softmax}(p^{-1/2} Q K^\top) V`; with a hook the softmax map passes through ``hook_point``.

    With ``causal`` a token attends to itself and the tokens before it. PyTorch's fused kernel is used, except in 16
    bits on a CPU, where plain products are faster for the usual number of tokens of an image, and about twice as fast
    including the backward pass (docs/performance.md). On a CPU without fast 16-bit products, everything is computed in
    float32.
    """
    half_on_cpu = query.dtype in (torch.bfloat16, torch.float16) and query.device.type == "cpu"
    if half_on_cpu and not torch.compiler.is_compiling() and not fast_products(query.dtype):
        with full_precision(query.device):
            return softmax_attention(query.float(), key.float(), value.float(), hook_point, causal=causal).to(
                query.dtype
            )
    plain = half_on_cpu and (torch.is_grad_enabled() or query.shape[-2] <= PLAIN_UP_TO)
    if not hook_point.has_hooks and not plain:
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    exporting = not all(isinstance(side, int) for side in query.shape)
    if not (hook_point.has_hooks or causal or exporting) and query is key is value:
        return SharedAttention.apply(query)
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return hook_point(scores.softmax(dim=-1)).to(value.dtype) @ value


class SharedAttention(torch.autograd.Function):
    r""":math:`S W` with :math:`S = \mathrm{softmax}(p^{-1/2} W W^\top)`, where one projection is query, key and value.

    A few heads are computed at a time, so that their maps fit in the cache; no map is stored for the backward pass.
    Because the scores are symmetric, the gradients with respect to query and key are one product with the gradient
    :math:`G` of the scores: :math:`p^{-1/2} (G + G^\top) W`. Second derivatives are not supported.
    """

    @staticmethod
    def forward(w: Float[Tensor, "batch heads tokens head_dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        mixed = torch.empty_like(w, memory_format=torch.contiguous_format)
        for some, out in _few_heads(w, mixed):
            torch.bmm(_map(some), some, out=out)
        return mixed

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Float[Tensor, "batch heads tokens head_dim"]
    ) -> Tensor:
        (w,) = ctx.saved_tensors
        on_w = torch.empty_like(w, memory_format=torch.contiguous_format)
        for some, on_some, out in _few_heads(w, gradient, on_w):
            attention = _map(some)
            on_map = on_some @ some.transpose(-2, -1)
            on_scores = torch.ops.aten._softmax_backward_data(on_map, attention, -1, attention.dtype)
            scaled = some * some.shape[-1] ** -0.5
            torch.bmm(on_scores, scaled, out=out)
            out.baddbmm_(on_scores.transpose(-2, -1), scaled)
            out.baddbmm_(attention.transpose(-2, -1), on_some)
        return on_w


def _few_heads(*tensors: Float[Tensor, "batch heads tokens head_dim"]) -> Iterator[tuple[Tensor, ...]]:
    """The same heads of every tensor, as many at a time as fit their maps into the cache."""
    heads = max(1, IN_CACHE // max(1, tensors[0].shape[-2] ** 2))
    return zip(*(tensor.flatten(0, 1).split(heads) for tensor in tensors), strict=True)


def _map(w: Float[Tensor, "some tokens head_dim"]) -> Float[Tensor, "some tokens tokens"]:
    return ((w * w.shape[-1] ** -0.5) @ w.transpose(-2, -1)).softmax(dim=-1)
