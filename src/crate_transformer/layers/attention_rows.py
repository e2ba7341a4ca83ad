"""What a row of an attention map is."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class AttentionRows:
    r"""How a layer's attention map is computed from two vectors per token, a query :math:`q` and a key :math:`k`.

    .. math:: a_{ij} \propto \exp(p^{-1/2} \langle q_i, k_j \rangle), \qquad\text{without softmax}\quad
              a_{ij} \propto \langle q_i, k_j \rangle

    (arXiv 1706.03762, eq. 1; without softmax as in arXiv 2509.16875.) ``query`` and ``key`` name the hook points that
    see them, ``(batch, heads, tokens, p)``. Rows sum to 1.
    """

    query: str
    key: str
    softmax: bool = True

    def __call__(
        self,
        queries: Float[Tensor, "batch heads queries size"],
        keys: Float[Tensor, "batch heads tokens size"],
    ) -> Float[Tensor, "batch heads queries tokens"]:
        if self.softmax:
            return ((queries * queries.shape[-1] ** -0.5) @ keys.mT).softmax(dim=-1)
        products = queries @ keys.mT
        return products / products.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(products.dtype).tiny)
