"""CRATE written down from the paper without optimisation: the reference for the speed of the package.

Five matrix products per layer and token, an explicit softmax, every intermediate kept for the backward pass. Parameters
have the names of ``models.CRATE``, so that ``load_state_dict`` can copy weights and outputs can be compared.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import PatchEmbed
from crate_transformer.models import Backbone, CRATEConfig


class ReferenceMSSA(nn.Module):
    """Multi-head subspace self-attention (arXiv 2306.01129, eqs. 11-12), each map computed explicitly."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.subspaces = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim) if num_heads > 1 else nn.Identity()

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        batch, tokens, dim = z.shape
        w = self.subspaces(z).reshape(batch, tokens, self.num_heads, -1).transpose(1, 2)
        scores = torch.matmul(w, w.transpose(-1, -2)) * w.shape[-1] ** -0.5
        heads = torch.matmul(torch.softmax(scores, dim=-1), w)
        return self.out(heads.transpose(1, 2).reshape(batch, tokens, dim))


class ReferenceISTA(nn.Module):
    """The proximal step (arXiv 2306.01129, eq. 17) computed in the order of the equation: three products."""

    def __init__(self, dim: int, step_size: float, sparsity_weight: float) -> None:
        super().__init__()
        self.step_size, self.sparsity_weight = step_size, sparsity_weight
        self.dictionary = nn.Parameter(torch.empty(dim, dim))
        nn.init.kaiming_uniform_(self.dictionary)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        synthesis = F.linear(z, self.dictionary)
        gradient = F.linear(z, self.dictionary.t()) - F.linear(synthesis, self.dictionary.t())
        return F.relu(z + self.step_size * gradient - self.step_size * self.sparsity_weight)


class ReferenceBlock(nn.Module):
    """One layer: compression, then sparsification."""

    def __init__(self, config: CRATEConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim)
        self.mssa = ReferenceMSSA(config.embed_dim, config.num_heads)
        self.norm2 = nn.LayerNorm(config.embed_dim)
        self.ista = ReferenceISTA(config.embed_dim, config.step_size, config.sparsity_weight)

    def forward(self, z: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        z = z + self.mssa(self.norm1(z))
        return self.ista(self.norm2(z))


class ReferenceCRATE(Backbone):
    """The reference: the structure and parameters of ``models.CRATE`` with the simplest arithmetic."""

    def __init__(self, config: CRATEConfig) -> None:
        super().__init__(
            config,
            patch_embed=PatchEmbed(config.patch_shape, config.in_chans, config.embed_dim),
            blocks=[ReferenceBlock(config) for _ in range(config.depth)],
        )
