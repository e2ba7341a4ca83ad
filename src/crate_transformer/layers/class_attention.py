"""Attention of the class token over the patches."""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.fold_norm import frozen_linear
from crate_transformer.layers.hook_point import HookPoint
from crate_transformer.layers.softmax_attention import softmax_attention


class ClassAttention(nn.Module):
    r"""Attention with one query, :math:`\mathrm{softmax}(p^{-1/2} q_\mathrm{cls} K^\top) V` per head
    (arXiv 2103.17239, eqs. 5-8); returns the new class token alone, in time linear in the tokens.

    Hook point: ``attention``, the softmax map ``(batch, heads, 1, tokens)``, computed only with a hook.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.attention = HookPoint()

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch 1 dim"]:
        (query, rest), (query_bias, rest_bias) = self._parts()
        return _read(self, F.linear(z[:, :1], query, query_bias), F.linear(z, rest, rest_bias))

    def _parts(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Weights and biases of the queries, and of keys and values; only the class token needs a query."""
        sizes = [self.qkv.in_features, 2 * self.qkv.in_features]
        (query, rest), (query_bias, rest_bias) = self.qkv.weight.split(sizes), self.qkv.bias.split(sizes)
        return (query, rest), (query_bias, rest_bias)

    def folded(self) -> "FoldedClassAttention":
        """The same layer for inference, with separate maps and without this layer's parameters."""
        return FoldedClassAttention(self)


class FoldedClassAttention(nn.Module):
    """``ClassAttention`` with one linear map for the query and one for keys and values."""

    def __init__(self, whole: ClassAttention) -> None:
        super().__init__()
        (query, rest), (query_bias, rest_bias) = whole._parts()
        self.num_heads = whole.num_heads
        self.query = frozen_linear(query, query_bias)
        self.key_value = frozen_linear(rest, rest_bias)
        self.attention = whole.attention
        self.out = frozen_linear(whole.out.weight, whole.out.bias)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch 1 dim"]:
        return _read(self, self.query(z[:, :1]), self.key_value(z))


def _read(
    layer: ClassAttention | FoldedClassAttention,
    query: Float[Tensor, "batch 1 dim"],
    key_value: Float[Tensor, "batch tokens both"],
) -> Float[Tensor, "batch 1 dim"]:
    q = rearrange(query, "b n (h p) -> b h n p", h=layer.num_heads)
    k, v = rearrange(key_value, "b n (two h p) -> two b h n p", two=2, h=layer.num_heads)
    mixed = softmax_attention(q, k, v, layer.attention)
    return layer.out(rearrange(mixed, "b h n p -> b n (h p)"))
