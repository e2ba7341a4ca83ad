"""The sparsifying step of a CRATE-alpha layer."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers.fold_norm import frozen_linear
from crate_transformer.layers.hook_point import HookPoint


class ODL(nn.Module):
    r"""Overcomplete dictionary learning: code each token in two ISTA steps, then decode with another dictionary.

    .. math::
        A^1 &= \mathrm{ReLU}\bigl(\eta D^\top z - \eta \lambda \mathbf 1\bigr) \\
        A^2 &= \mathrm{ReLU}\bigl(A^1 + \eta D^\top (z - D A^1) - \eta \lambda \mathbf 1\bigr) \\
        \mathrm{ODL}(z \mid D, \hat D) &= \hat D A^2

    (arXiv 2405.20299.) The steps descend a non-negative LASSO objective from :math:`A^0 = 0`; :math:`D` and
    :math:`\hat D` are ``(dim, atoms)``, with more atoms than dimensions. Unlike ``ISTA``, its output is dense.

    Hook point: ``code`` :math:`A^2`, ``(*batch, atoms)``.

    Args:
        num_atoms: columns of both dictionaries; default: ``4 * dim``.
        step_size: :math:`\eta > 0`.
        sparsity_weight: :math:`\lambda \ge 0`.
    """

    num_steps = 2
    starts_at_input = False

    def __init__(
        self, dim: int, num_atoms: int | None = None, *, step_size: float = 0.1, sparsity_weight: float = 0.1
    ) -> None:
        super().__init__()
        self.step_size = step_size
        self.sparsity_weight = sparsity_weight
        self.dictionary = nn.Parameter(torch.empty(dim, num_atoms or 4 * dim))
        self.decoupled_dictionary = nn.Parameter(torch.empty_like(self.dictionary))
        self.code = HookPoint()
        nn.init.kaiming_uniform_(self.dictionary)
        nn.init.kaiming_uniform_(self.decoupled_dictionary)

    def forward(self, z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        step = self.step_size * self.dictionary.T
        threshold = self.dictionary.new_full((self.dictionary.shape[1],), -self.step_size * self.sparsity_weight)
        first = F.relu(F.linear(z, step, threshold))
        residual = z - F.linear(first, self.dictionary)
        code = F.relu(first + F.linear(residual, step, threshold))
        return F.linear(self.code(code), self.decoupled_dictionary)

    def folded(self) -> "FoldedODL":
        """The same layer for inference, with its maps formed once and without this layer's parameters."""
        return FoldedODL(self)

    def extra_repr(self) -> str:
        dim, num_atoms = self.dictionary.shape
        return f"{dim}, {num_atoms}, step_size={self.step_size}, sparsity_weight={self.sparsity_weight}"


class FoldedODL(nn.Module):
    r"""``ODL`` as three linear maps, :math:`\eta D^\top z - \eta\lambda\mathbf 1`, :math:`D a` and :math:`\hat D a`."""

    def __init__(self, odl: ODL) -> None:
        super().__init__()
        analysis = odl.step_size * odl.dictionary.T
        self.analyse = frozen_linear(
            analysis, analysis.new_full(analysis.shape[:1], -odl.step_size * odl.sparsity_weight)
        )
        self.synthesise = frozen_linear(odl.dictionary)
        self.code = odl.code
        self.decode = frozen_linear(odl.decoupled_dictionary)

    def forward(self, z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        first = F.relu(self.analyse(z))
        code = F.relu(first + self.analyse(z - self.synthesise(first)))
        return self.decode(self.code(code))
