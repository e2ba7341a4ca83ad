"""The sparsifying step of a CRATE layer."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ISTA(nn.Module):
    r"""One proximal-gradient step on a non-negative LASSO problem over a learned complete dictionary.

    .. math:: \mathrm{ISTA}(z \mid D) = \mathrm{ReLU}\bigl(z + \eta D^\top (z - D z) - \eta \lambda \mathbf 1\bigr)

    (arXiv 2306.01129, eq. 17.) The three matrix products of the equation are one:
    :math:`\mathrm{ReLU}(A z - \eta\lambda \mathbf 1)` with :math:`A = I + \eta D^\top (I - D)`, formed in float32 once
    per call at the cost of one ``dim x dim`` product, whatever the number of tokens.

    Args:
        step_size: :math:`\eta > 0`.
        sparsity_weight: :math:`\lambda \ge 0`.
    """

    def __init__(self, dim: int, *, step_size: float = 0.1, sparsity_weight: float = 0.1) -> None:
        super().__init__()
        self.step_size = step_size
        self.sparsity_weight = sparsity_weight
        self.dictionary = nn.Parameter(torch.empty(dim, dim))
        nn.init.kaiming_uniform_(self.dictionary)

    def folded_dictionary(self) -> Float[Tensor, "dim dim"]:
        r""":math:`A = I + \eta D^\top (I - D)`."""
        with torch.autocast(self.dictionary.device.type, enabled=False):
            identity = torch.eye(self.dictionary.shape[0], dtype=self.dictionary.dtype, device=self.dictionary.device)
            return torch.addmm(identity, self.dictionary.T, identity - self.dictionary, alpha=self.step_size)

    def forward(self, z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        threshold = self.dictionary.new_full((z.shape[-1],), -self.step_size * self.sparsity_weight)
        return F.relu(F.linear(z, self.folded_dictionary(), threshold))

    def extra_repr(self) -> str:
        return f"{self.dictionary.shape[0]}, step_size={self.step_size}, sparsity_weight={self.sparsity_weight}"
