"""The normalised cut of a patch graph."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

EPSILON = 1e-5
"""Affinity of two patches that are not connected."""
_DENSE = 64
"""Largest number of patches for which the dense eigenproblem is solved."""
_NO_CUT = 1e-6


@dataclass(frozen=True, kw_only=True)
class Cut:
    r"""The second smallest eigenvector of :math:`(D - A) v = \lambda D v`, with :math:`v^\top D v = 1`.

    Its entry of largest magnitude is positive. ``above`` are the patches above its mean. ``error`` bounds the error of
    :math:`D^{1/2} v` by the residual divided by the gap to the next eigenvalue (Davis and Kahan): a value that is not
    small means that the next eigenvalue is nearly equal, so that the cut is not unique.
    """

    vector: Float[np.ndarray, " patches"]
    above: Bool[np.ndarray, " patches"]
    eigenvalue: float
    error: float


def normalised_cut(edges: Bool[np.ndarray, "patches patches"], alive: Bool[np.ndarray, " patches"]) -> Cut | None:
    r"""Second smallest eigenvector of :math:`(D - A) v = \lambda D v`, where :math:`A_{ij} = 1` if two living patches
    have an edge and :math:`10^{-5}` otherwise, and :math:`D` are the row sums; ``None`` if no cut is better than
    another, because all living patches are alike (:math:`\lambda = 1`).

    It is the largest eigenvector of :math:`D^{-1/2} A D^{-1/2}` apart from the known one with eigenvalue 1
    (:math:`D^{1/2} \mathbf 1`). A patch that is not alive has :math:`v = \mathrm{mean}(v) / (1 - \lambda)`, so it is on
    the side given by the sign of the mean.

    Args:
        edges: a symmetric matrix.
        alive: a patch without an edge to itself is not alive either.
    """
    alive = alive & edges.diagonal()
    if alive.sum() < 2:
        return None
    affinity = np.where(edges & np.outer(alive, alive), 1.0, EPSILON)
    degree = affinity.sum(axis=1)
    scale, first = degree**-0.5, (degree / degree.sum()) ** 0.5

    def product(x: np.ndarray) -> np.ndarray:
        return scale * (affinity @ (scale * x)) - first * (first @ x)

    (following, value), vectors = _two_largest(product, len(edges))
    if value <= _NO_CUT:
        return None
    x = vectors[:, 1]
    vector = scale * x
    vector = vector * np.sign(vector[np.abs(vector).argmax()])
    residual = float(np.linalg.norm(product(x) - value * x))
    return Cut(
        vector=vector,
        above=np.where(alive, vector > vector.mean(), vector.mean() > 0),
        eigenvalue=float(1 - value),
        error=residual / max(float(value - following), 1e-300),
    )


def _two_largest(product: Callable[[np.ndarray], np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """The two largest eigenvalues of a symmetric map, ascending, and their vectors as columns."""
    if size > _DENSE:
        operator: Any = LinearOperator((size, size), matvec=product, dtype=np.float64)  # pyright: ignore[reportCallIssue]
        start = np.random.default_rng(0).standard_normal(size)
        try:
            found: Any = eigsh(operator, k=2, which="LA", v0=start)
            return found
        except ArpackError:
            pass  # it did not converge
    values, vectors = np.linalg.eigh(np.stack([product(column) for column in np.eye(size)]))
    return values[-2:], vectors[:, -2:]
