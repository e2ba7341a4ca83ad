"""The compressing step of a CRATE layer."""

from typing import Literal

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.attention_rows import AttentionRows
from crate_transformer.layers.fold_norm import frozen_linear
from crate_transformer.layers.hook_point import HookPoint
from crate_transformer.layers.softmax_attention import softmax_attention

OutputMap = Literal[None, "free", "tied", "negative", "transposed", "fixed", "identity"]
"""The output maps of ``MSSA``."""


class MSSA(nn.Module):
    r"""Multi-head subspace self-attention: tokens attend to each other inside each learned subspace.

    .. math::
        \mathrm{MSSA}(Z \mid U_{[K]}) = W \, [\mathrm{SSA}_1; \dots; \mathrm{SSA}_K], \qquad
        \mathrm{SSA}_k = (U_k^\top Z)\, \mathrm{softmax}\bigl(p^{-1/2} (U_k^\top Z)^\top (U_k^\top Z)\bigr)

    (arXiv 2306.01129, eqs. 11-12, with the trainable output map ``W`` of appendix B.1.) Query, key and value are the
    same projection. Other output maps, with :math:`S = [\mathrm{SSA}_1; \dots; \mathrm{SSA}_K]`:

    * ``"tied"`` :math:`U_{[K]} S`, as derived; ``"negative"`` :math:`-U_{[K]} S`
    * ``"transposed"`` :math:`U_{[K]}^\top S`, the projection applied again, as in the released code of arXiv 2502.11646
    * ``"fixed"`` :math:`W S` with a random :math:`W` that is not trained; ``"identity"`` :math:`S`

    *Unverified*: ``negative``, ``fixed`` and ``identity`` follow the figure captions of arXiv 2411.17182; its code and
    equations were not available.

    Hook points: ``projection`` :math:`U_k^\top z`, ``(batch, heads, tokens, head_dim)``; ``attention``, the softmax map
    ``(batch, heads, tokens, tokens)``, computed only with a hook; ``head_output`` :math:`\mathrm{SSA}_k`,
    before the output map, as ``projection``.

    Args:
        head_dim: dimension ``p`` of each subspace; default: ``dim // num_heads``.
        output: the output map; default: ``"free"`` for ``W``, but ``"identity"`` for a single head of width ``dim``.
        out_bias: whether a free ``W`` has a bias.
        causal: whether a token attends only to itself and the tokens before it.
    """

    rows = AttentionRows(query="projection", key="projection")

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        head_dim: int | None = None,
        output: OutputMap = None,
        out_bias: bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if head_dim is None and dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}: give head_dim")
        head_dim = head_dim or dim // num_heads
        self.num_heads = num_heads
        self.causal = causal
        self.subspaces = nn.Linear(dim, num_heads * head_dim, bias=False)
        inner_dim = num_heads * head_dim
        self.output = output or ("identity" if num_heads == 1 and head_dim == dim else "free")
        if self.output in ("identity", "transposed") and inner_dim != dim:
            raise ValueError(
                f"with the output map {self.output!r} num_heads {num_heads} times head_dim {head_dim} must be dim {dim}"
            )
        self.out = nn.Identity()
        if self.output == "free":
            self.out = nn.Linear(inner_dim, dim, bias=out_bias)
        elif self.output == "fixed":
            self.out = nn.Linear(inner_dim, dim, bias=False).requires_grad_(False)
        self.attend = softmax_attention  # fuse_kernels replaces it with a kernel
        self.projection = HookPoint()
        self.attention = HookPoint()
        self.head_output = HookPoint()

    def project(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch heads tokens head_dim"]:
        r""":math:`U_k^\top z` of every head."""
        return rearrange(self.subspaces(z), "b n (h p) -> b h n p", h=self.num_heads)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        w = self.projection(self.project(z))
        return self.combine(self.attend(w, w, w, self.attention, causal=self.causal))

    def cross(
        self, queries: Float[Tensor, "batch queries dim"], z: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch queries dim"]:
        r"""Queries attend to tokens in the subspaces of both: :math:`\mathrm{SSA}_k = (U_k^\top Z)\, \mathrm{softmax}
        \bigl(p^{-1/2} (U_k^\top Z)^\top (U_k^\top Q)\bigr)` (arXiv 2411.03033); ``projection`` sees the tokens."""
        q, w = self.project(queries), self.projection(self.project(z))
        return self.combine(softmax_attention(q, w, w, self.attention))

    def combine(self, ssa: Float[Tensor, "batch heads tokens head_dim"]) -> Float[Tensor, "batch tokens dim"]:
        """The output map, applied to all heads together."""
        merged = rearrange(self.head_output(ssa), "b h n p -> b n (h p)")
        tied = self.tied_map()
        return self.out(merged) if tied is None else F.linear(merged, tied)

    def tied_map(self) -> Float[Tensor, "dim inner_dim"] | None:
        """The output map where it is computed from the subspaces."""
        if self.output in ("tied", "negative"):
            return self.subspaces.weight.T if self.output == "tied" else -self.subspaces.weight.T
        return self.subspaces.weight if self.output == "transposed" else None

    def fold_(self) -> None:
        """Compute a tied output map once."""
        if (tied := self.tied_map()) is not None:
            self.out, self.output = frozen_linear(tied), "free"
