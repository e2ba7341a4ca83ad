"""Softmax attention, fused where that is exact and fast."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crate_transformer.layers.tap import Tap

PLAIN_UP_TO = 1024  # tokens
IN_CACHE = 2**20  # numbers of the maps computed at a time
KEPT_TIMES = 4  # as many numbers as its projection a map may have to be kept for the backward pass


def attend(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads tokens head_dim"],
    value: Float[Tensor, "batch heads tokens head_dim"],
    tap: Tap,
    *,
    causal: bool = False,
) -> Float[Tensor, "batch heads queries head_dim"]:
    r""":math:`\mathrm{softmax}(p^{-1/2} Q K^\top) V`; the map itself is shown to ``tap`` when somebody listens.

    With ``causal`` a token attends to itself and the tokens before it. PyTorch's fused kernel is used, except in 16
    bits on a CPU, where plain products are faster for as many tokens as a picture usually has, and several times
    faster backwards (measured in docs/results.md).
    """
    half_on_cpu = query.dtype in (torch.bfloat16, torch.float16) and query.device.type == "cpu"
    plain = half_on_cpu and (torch.is_grad_enabled() or query.shape[-2] <= PLAIN_UP_TO)
    if not tap.listening and not plain:
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    if not tap.listening and query is key is value and not causal:
        return SharedAttention.apply(query)[0]
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return tap(scores.softmax(dim=-1)).to(value.dtype) @ value


class SharedAttention(torch.autograd.Function):
    r""":math:`S W` with :math:`S = \mathrm{softmax}(p^{-1/2} W W^\top)`, where one projection is query, key and value.

    A few heads at a time, so that their maps stay in the cache. Maps up to a few times as large as :math:`W` are kept
    for the backward pass, larger ones computed again. As scores are symmetric, query and key are one factor of their
    gradient :math:`G`: :math:`p^{-1/2} (G + G^\top) W`.
    """

    @staticmethod
    def forward(
        w: Float[Tensor, "batch heads tokens head_dim"],
    ) -> tuple[Float[Tensor, "batch heads tokens head_dim"], Float[Tensor, "batch kept tokens all_tokens"]]:
        batch, heads, tokens, head_dim = w.shape
        keep = w.requires_grad and tokens <= KEPT_TIMES * head_dim
        mixed = torch.empty_like(w, memory_format=torch.contiguous_format)
        maps = w.new_empty(batch, heads if keep else 0, tokens, tokens)
        for some, out, *kept in _few_heads(w, mixed, *([maps] if keep else [])):
            torch.bmm(_map(some, *kept), some, out=out)
        return mixed, maps

    @staticmethod
    def setup_context(ctx: object, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: object, gradient: Float[Tensor, "batch heads tokens head_dim"], _: Tensor) -> Tensor:
        w, maps = ctx.saved_tensors
        on_w = torch.empty_like(w, memory_format=torch.contiguous_format)
        for some, on_some, out, *kept in _few_heads(w, gradient, on_w, *([maps] if maps.numel() else [])):
            attention = kept[0] if kept else _map(some)
            on_map = on_some @ some.transpose(-2, -1)
            on_scores = torch.ops.aten._softmax_backward_data(on_map, attention, -1, attention.dtype)
            scaled = some * some.shape[-1] ** -0.5
            torch.bmm(on_scores, scaled, out=out)
            out.baddbmm_(on_scores.transpose(-2, -1), scaled)
            out.baddbmm_(attention.transpose(-2, -1), on_some)
        return on_w


def _few_heads(*tensors: Float[Tensor, "batch heads tokens _"]) -> Iterator[tuple[Tensor, ...]]:
    """The same heads of every tensor, as many at a time as have maps that fit the cache."""
    heads = max(1, IN_CACHE // tensors[0].shape[-2] ** 2)
    return zip(*(tensor.flatten(0, 1).split(heads) for tensor in tensors), strict=True)


def _map(
    w: Float[Tensor, "some tokens head_dim"], out: Float[Tensor, "some tokens tokens"] | None = None
) -> Float[Tensor, "some tokens tokens"]:
    return torch.softmax((w * w.shape[-1] ** -0.5) @ w.transpose(-2, -1), -1, out=out)
