"""Geometry of the learned subspaces and dictionaries, layer by layer."""

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from crate_transformer.inspection.controls import untrained_twin
from crate_transformer.models import Backbone, Block, EnergyBlock, attention_of

_DICTIONARIES = ("dictionary", "decoupled_dictionary")


@dataclass(frozen=True, kw_only=True)
class DictionaryGeometry:
    r"""How far the dictionary ``D`` (dim, atoms) of each layer is from an orthogonal one.

    ``mean_coherence`` and ``max_coherence`` are the mean and maximum of :math:`|\cos|` between two different atoms;
    ``effective_rank`` is defined as for the subspaces; ``gram_distance`` is
    :math:`\|D^\top D - I\|_F / \sqrt{\mathrm{atoms}}`; ``frame_distance`` is
    :math:`\min_{c, Q} \|c D - Q\|_F / \|Q\|_F` over scalars ``c`` and matrices ``Q`` with orthonormal rows, which does
    not depend on the scale: 0 for a multiple of an orthogonal matrix or a tight frame.
    """

    mean_coherence: Float[np.ndarray, " layers"]
    max_coherence: Float[np.ndarray, " layers"]
    effective_rank: Float[np.ndarray, " layers"]
    gram_distance: Float[np.ndarray, " layers"]
    frame_distance: Float[np.ndarray, " layers"]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    r"""One model's subspaces :math:`U_{[K]} = [U_1, \dots, U_K]`, ``U_k`` (dim, head_dim), and dictionaries by name.

    ``coherence`` is the mean of :math:`|\cos|` between columns of two heads, and on the diagonal between different
    columns of one head; ``gram`` contains these values for ``directions`` random columns of each head, as in the
    figures of arXiv 2306.01129, appendix B. ``effective_rank`` of each :math:`U_k`, and ``joint_rank`` of
    :math:`U_{[K]}`, is :math:`\exp` of the entropy of the singular values divided by their sum: at most head_dim, or
    dim. ``angles`` are the principal angles between the column spaces of two heads in radians, ascending: 0 if they
    share a direction.
    """

    coherence: Float[np.ndarray, "layers heads heads"]
    gram: Float[np.ndarray, "layers columns columns"]
    effective_rank: Float[np.ndarray, "layers heads"]
    joint_rank: Float[np.ndarray, " layers"]
    angles: Float[np.ndarray, "layers heads heads head_dim"]
    dictionaries: dict[str, DictionaryGeometry]

    @property
    def within(self) -> Float[np.ndarray, " layers"]:
        """Mean coherence between different columns of one head."""
        return np.diagonal(self.coherence, axis1=1, axis2=2).mean(axis=1)

    @property
    def across(self) -> Float[np.ndarray, " layers"]:
        """Mean coherence between columns of different heads; NaN for a single head."""
        heads = self.coherence.shape[1]
        total = self.coherence.sum(axis=(1, 2)) - heads * self.within
        return total / (heads * (heads - 1)) if heads > 1 else np.full(len(total), np.nan)


@dataclass(frozen=True, kw_only=True)
class SubspaceGeometry:
    """The geometry of a model's layers and of an untrained model of the same shape."""

    trained: Geometry
    untrained: Geometry
    directions: int


def subspace_geometry(
    model: Backbone, *, untrained: Backbone | None = None, directions: int = 4, seed: int = 0
) -> SubspaceGeometry:
    """Measure the subspaces and dictionaries of every layer (arXiv 2306.01129, section 3.1 and appendix B).

    These are properties of the weights alone; the dictionaries are those of ISTA (``dictionary``) or ODL
    (``dictionary`` and ``decoupled_dictionary``). Layers are those of ``model.blocks``, each with the weights it uses,
    also where several share them. Random matrices are already incoherent, so consider the difference from the control.

    Args:
        untrained: the control; default: ``untrained_twin(model)``.
        directions: number of columns of each head in ``gram``, at most head_dim.
        seed: seed for choosing the columns, which are the same in every layer.

    Raises:
        ValueError: the model has no subspaces (a ViT has separate queries and keys), it is folded, or ``directions`` is
            below 1.
    """
    if model.folded:
        raise ValueError("a folded model no longer has its subspaces and dictionaries: measure the original model")
    if not has_subspaces(model):
        raise ValueError(f"{type(model).__name__} has no subspaces: give a CRATE, CRATE-alpha, CRATE-MAE or ToST")
    if directions < 1:
        raise ValueError(f"directions is {directions}: it must be at least 1")
    control = untrained_twin(model) if untrained is None else untrained
    trained = _geometry(model, directions, seed)
    return SubspaceGeometry(trained=trained, untrained=_geometry(control, directions, seed), directions=directions)


def has_subspaces(model: Backbone) -> bool:
    """Whether every block's attention projects tokens to learned subspaces."""
    return all(hasattr(attention_of(block), "subspaces") for block in model.blocks)


def _geometry(model: Backbone, directions: int, seed: int) -> Geometry:
    heads = model.config.num_heads
    layers = [_subspaces(_projection(block), heads, directions, seed) for block in model.blocks]
    dictionaries = {}
    for wanted in _DICTIONARIES:
        if found := [getattr(step, wanted) for block in model.blocks if hasattr(step := block.sparse_step, wanted)]:
            measured = [_dictionary(_double(dictionary)) for dictionary in found]
            dictionaries[wanted] = DictionaryGeometry(
                **{key: np.array([one[key] for one in measured]) for key in measured[0]}
            )
    return Geometry(**{key: np.stack([layer[key] for layer in layers]) for key in layers[0]}, dictionaries=dictionaries)


def _projection(block: Block) -> Float[Tensor, "columns dim"]:
    r""":math:`U_{[K]}^\top` with which this block projects, including a change of low rank."""
    weight = _double(attention_of(block).subspaces.weight)
    change = block.changed()[0] if isinstance(block, EnergyBlock) else None
    return weight if change is None else weight + _double(change)


def _double(parameter: Tensor) -> Float[Tensor, "rows columns"]:
    return parameter.detach().to("cpu", torch.float64)


def _subspaces(weight: Tensor, heads: int, directions: int, seed: int) -> dict[str, np.ndarray]:
    subspaces = rearrange(weight, "(h p) d -> h d p", h=heads)
    columns = rearrange(_unit(subspaces), "h d p -> d (h p)")
    gram = (columns.T @ columns).abs()
    head_dim = subspaces.shape[-1]
    blocks = rearrange(gram, "(a p) (b q) -> a b p q", a=heads, b=heads)
    mean = blocks.mean(dim=(-2, -1))
    if head_dim > 1:
        own = torch.diagonal(blocks.sum(dim=(-2, -1))) - torch.diagonal(gram).unflatten(0, (heads, head_dim)).sum(dim=1)
        mean.diagonal().copy_(own / (head_dim * (head_dim - 1)))
    else:
        mean.diagonal().zero_()
    random = np.random.default_rng(seed)
    picked = [head * head_dim + np.sort(random.permutation(head_dim)[:directions]) for head in range(heads)]
    few = torch.from_numpy(np.concatenate(picked))
    bases = torch.linalg.qr(subspaces).Q
    cosines = torch.linalg.svdvals(torch.einsum("a d p, b d q -> a b p q", bases, bases))
    return {
        "coherence": mean.numpy(),
        "gram": gram[few][:, few].numpy(),
        "effective_rank": _effective_rank(torch.linalg.svdvals(subspaces)).numpy(),
        "joint_rank": _effective_rank(torch.linalg.svdvals(weight)).numpy(),
        "angles": torch.arccos(cosines.clamp(max=1)).numpy(),
    }


def _dictionary(dictionary: Tensor) -> dict[str, float]:
    atoms = dictionary.shape[1]
    gram = dictionary.T @ dictionary
    columns = _unit(dictionary)
    coherence = (columns.T @ columns).abs().fill_diagonal_(0)
    values = torch.linalg.svdvals(dictionary)
    aligned = values.mean().square() / values.square().mean().clamp_min(1e-300)
    return {
        "mean_coherence": float(coherence.sum() / max(1, atoms * (atoms - 1))),
        "max_coherence": float(coherence.max()),
        "effective_rank": float(_effective_rank(values)),
        "gram_distance": float(torch.linalg.norm(gram - torch.eye(atoms, dtype=gram.dtype)) / atoms**0.5),
        "frame_distance": float((1 - aligned).clamp_min(0).sqrt()),
    }


def _unit(matrix: Tensor) -> Tensor:
    """Columns of length 1; zero columns stay zero."""
    length = matrix.norm(dim=-2, keepdim=True)
    return matrix / torch.where(length == 0, 1, length)


def _effective_rank(singular_values: Float[Tensor, "*lead values"]) -> Float[Tensor, "*lead"]:
    """Effective rank (Roy and Vetterli, EUSIPCO 2007); 0 for a zero matrix."""
    total = singular_values.sum(dim=-1, keepdim=True)
    fractions = singular_values / torch.where(total == 0, 1, total)
    return torch.where(total[..., 0] == 0, 0.0, torch.special.entr(fractions).sum(dim=-1).exp())
