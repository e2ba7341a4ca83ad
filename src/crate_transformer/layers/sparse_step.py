"""The protocol of a layer that codes tokens sparsely."""

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class SparseStep(Protocol):
    r"""Proximal-gradient steps on a non-negative LASSO problem, one for every token :math:`z`.

    .. math:: \min_{a \ge 0} F(a), \qquad F(a) = \tfrac12 \|z - D a\|^2 + \lambda \|a\|_1

    (arXiv 2306.01129, section 2.3.) ``dictionary`` is :math:`D` (dim, atoms), ``step_size`` is :math:`\eta` and
    ``sparsity_weight`` is :math:`\lambda`. ``num_steps`` steps are taken, starting from the token itself if
    ``starts_at_input``, else from 0.
    """

    if TYPE_CHECKING:  # from Python 3.12 on, isinstance does not find parameters
        dictionary: Tensor

    step_size: float
    sparsity_weight: float
    num_steps: ClassVar[int]
    starts_at_input: ClassVar[bool]
