"""The second eigenvector of a graph of patches, as certain as a dense solver's and a hundred times as fast."""

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float

EPSILON = 1e-5
"""Affinity of two patches that are not alike."""
_DENSE = 64
"""Graphs of at most so many patches go to the dense solver at once."""
_BLOCK, _WARM, _FRESH, _MAX_BASIS = 4, 6, 2, 240
_LEAST = 6
"""Products before an answer is believed: a good start may lack the best direction, which fresh vectors then show."""
_ERROR = 1e-6
_FULL = 48
_STAGES = ((24, 1e-7), (_FULL, 1e-12))
"""Bits to which products are taken, and the residual at which no more is to be got out of them."""
_NOISY = 20
"""Multiple of that residual below which it may already have ceased to fall."""
_SMALL = 1e-9
"""Residual of an eigenvector that is one, even if some patch lies as good as at the mean."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    r"""The second smallest eigenvector of :math:`(D - A) v = \lambda D v`, with :math:`v^\top D v = 1`.

    Its entry of largest magnitude is positive. ``above`` are the patches above its mean. ``error`` bounds how far
    :math:`D^{1/2} v` may lie from the truth: a value that is not small says that the next eigenvalue is as good as
    equal, and the cut one of several. ``dense`` says that the dense solver was asked. ``directions`` are this vector
    and those that follow, as far as they are known, times :math:`D^{1/2}`: a good start for a similar graph.
    """

    vector: Float[np.ndarray, " patches"]
    above: Bool[np.ndarray, " patches"]
    eigenvalue: float
    error: float
    dense: bool
    directions: Float[np.ndarray, "patches _some"]


def normalised_cut(
    edges: Float[np.ndarray, "patches patches"],
    alive: Bool[np.ndarray, " patches"],
    start: Float[np.ndarray, "patches _some"] | None = None,
) -> Cut | None:
    r"""Second smallest eigenvector of :math:`(D - A) v = \lambda D v` for :math:`A_{ij} = 1` where two living patches
    have an edge and :math:`10^{-5}` elsewhere, :math:`D` the row sums; ``None`` where no cut is better than another,
    because all living patches are alike (:math:`\lambda = 1`).

    A block Krylov method on :math:`M = D^{-1/2} A D^{-1/2}`, whose first eigenvector :math:`D^{1/2} \mathbf 1` is known
    and taken out. The error of the second is at most the residual over the gap to the next eigenvalue (Davis and
    Kahan): it stops where that is below 1e-6 and no patch can change sides of the mean any more. Where the residual
    does not become small the dense solver is asked. A patch that is not alive has
    :math:`v = \mathrm{mean}(v) / (1 - \lambda)` and lies on the side given by the sign of the mean.

    Args:
        edges: 0 or 1 in float32, symmetric.
        alive: a patch without an edge to itself is taken as not alive too.
        start: vectors that may resemble the eigenvectors, such as ``Cut.directions`` of a similar graph.
    """
    alive = alive & (edges.diagonal() > 0)
    if alive.sum() < 2:
        return None
    graph, found = _Graph(edges, alive), None
    for bits, floor in _STAGES if len(edges) > _DENSE else ():
        found = _krylov(graph, start, bits, floor)
        if found.sure:
            break
        start = found.directions
    dense = found is None or not (found.sure or found.residual < _SMALL)
    found = _dense(graph) if dense else found
    if found.value <= _ERROR:
        return None
    vector = graph.scale * found.directions[:, 0]
    vector = vector * np.sign(vector[np.abs(vector).argmax()])
    return Cut(
        vector=vector,
        above=np.where(alive, vector > vector.mean(), vector.mean() > 0),
        eigenvalue=1 - found.value,
        error=found.error,
        dense=dense,
        directions=found.directions,
    )


@dataclass(frozen=True)
class _Found:
    value: float
    residual: float
    error: float
    sure: bool
    directions: np.ndarray


class _Graph:
    """The matrix ``M`` as an operator."""

    def __init__(self, edges: np.ndarray, alive: np.ndarray) -> None:
        self.edges, self.alive = edges, alive
        self.degree = EPSILON * len(edges) + (1 - EPSILON) * self._sums(alive[:, None].astype(np.float64), 1)[:, 0]
        self.scale = self.degree**-0.5
        self.first = (self.degree / self.degree.sum()) ** 0.5

    def _sums(self, x: np.ndarray, bits: int) -> np.ndarray:
        """``edges @ x`` among the living, at the memory traffic of float32 and up to the accuracy of float64.

        ``x`` is split into pieces of so few bits each that float32 adds them without rounding.
        """
        width = 24 - math.ceil(math.log2(len(x)))
        x = np.where(self.alive[:, None], x, 0.0)
        largest = np.abs(x).max(axis=0)
        rest, pieces = x / np.where(largest == 0, 1, largest), []
        for _ in range(math.ceil(bits / width)):
            rest = rest * 2.0**width
            pieces.append(np.rint(rest))
            rest = rest - pieces[-1]
        sums = np.hsplit((self.edges @ np.hstack(pieces).astype(np.float32)).astype(np.float64), len(pieces))
        total = sum(part * 2.0 ** (-width * place) for place, part in enumerate(sums, start=1))
        return np.where(self.alive[:, None], total * largest, 0.0)

    def product(self, x: np.ndarray, bits: int) -> np.ndarray:
        """``M @ x``."""
        v = self.scale[:, None] * x
        return self.scale[:, None] * ((1 - EPSILON) * self._sums(v, bits) + EPSILON * v.sum(axis=0))

    def decided(self, x: np.ndarray, residual: float, gap: float) -> bool:
        """Whether ``x`` is accurate, and every patch certainly lies on its side of the mean."""
        error = residual / max(gap, 1e-300)
        v, slack = self.scale * x, error * np.linalg.norm(self.scale) / len(x)
        certain = np.abs(v - v.mean()) > error * self.scale + slack
        return error < _ERROR and bool(certain[self.alive].all()) and bool(self.alive.all() or abs(v.mean()) > slack)

    def found(self, directions: np.ndarray, gap: float) -> _Found:
        """The first of ``directions`` with its eigenvalue and error, measured anew and in full accuracy."""
        x = directions[:, 0]
        mapped = self.product(directions[:, :1], _FULL)[:, 0]
        value = float(x @ mapped)
        residual = float(np.linalg.norm(mapped - value * x))
        return _Found(value, residual, residual / max(gap, 1e-300), self.decided(x, residual, gap), directions)


def _krylov(graph: _Graph, start: np.ndarray | None, bits: int, floor: float) -> _Found:
    block = np.random.default_rng(0).standard_normal((len(graph.first), _BLOCK if start is None else _FRESH))
    block = block if start is None else np.hstack([start[:, :_WARM], block])
    block = np.where(graph.alive[:, None], block, 0.0)
    basis, mapped, before = graph.first[:, None], np.empty((len(block), 0)), math.inf
    products = 0
    while True:
        products += 1
        block = _orthonormal(block, basis)
        basis, mapped = np.hstack([basis, block]), np.hstack([mapped, graph.product(block, bits)])
        projected = basis[:, 1:].T @ mapped
        values, vectors = np.linalg.eigh((projected + projected.T) / 2)
        x = basis[:, 1:] @ vectors[:, -1]
        residual = float(np.linalg.norm(mapped @ vectors[:, -1] - values[-1] * x))
        gap = float(values[-1] - values[-2]) if len(values) > 1 else 1.0
        full = not block.size or basis.shape[1] + block.shape[1] > _MAX_BASIS
        stuck = residual < floor or before / 2 < residual < _NOISY * floor
        if full or (products >= _LEAST and (stuck or graph.decided(x, residual, gap))):
            return graph.found(basis[:, 1:] @ vectors[:, : -1 - _WARM : -1], gap)
        block, before = mapped[:, -block.shape[1] :], residual


def _orthonormal(block: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """What the columns of ``block`` add to ``basis``."""
    length = np.linalg.norm(block, axis=0)
    block = block[:, length > 0] / length[length > 0]
    for _ in range(2):
        q, r = np.linalg.qr(block - basis @ (basis.T @ block))
        block = q[:, np.abs(r.diagonal()) > 1e-9]
    return block


def _dense(graph: _Graph) -> _Found:
    """The answer of LAPACK on the whole matrix."""
    living = np.outer(graph.alive, graph.alive)
    matrix = np.outer(graph.scale, graph.scale) * np.where(living & (graph.edges > 0), 1.0, EPSILON)
    last = len(matrix) - 2
    values, vectors = scipy.linalg.eigh(matrix, subset_by_index=[max(0, last - 1), last], overwrite_a=True)
    return graph.found(vectors[:, ::-1], float(values[-1] - values[0]) if len(values) > 1 else 1.0)
