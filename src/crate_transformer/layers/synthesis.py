"""The decoder step that inverts sparsification."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.fold_norm import frozen_linear


class Synthesis(nn.Module):
    r"""A learned complete dictionary applied to codes, :math:`\tilde D z`: the linear inverse of an ISTA step.

    (arXiv 2404.02446, the decoder layer; no threshold, no rectification.)
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dictionary = nn.Parameter(torch.empty(dim, dim))
        nn.init.kaiming_uniform_(self.dictionary)

    def forward(self, z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return F.linear(z, self.dictionary)

    def folded(self) -> nn.Linear:
        """The same map for inference, as a linear map without this layer's parameters."""
        return frozen_linear(self.dictionary)

    def extra_repr(self) -> str:
        return f"{self.dictionary.shape[0]}"
