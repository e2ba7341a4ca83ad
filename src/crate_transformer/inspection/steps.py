"""Does every step of every layer do what it was derived to do?"""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crate_transformer.inspection.controls import untrained_twin
from crate_transformer.inspection.frozen import batches, frozen, to_model
from crate_transformer.inspection.projected import Normalisation, check_normalisation, scale
from crate_transformer.inspection.record import record
from crate_transformer.layers import SparseStep
from crate_transformer.models import Backbone, Block
from crate_transformer.objective import subspace_coding_rate


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Both steps of every layer on every image, before and after.

    ``rate_before`` and ``rate_after`` are R^c of the layer's subspaces at its input and half way, after MSSA; both
    through the same norm and projection. ``lasso_before`` and ``lasso_after`` are the mean over tokens of
    1/2 |z - D a|^2 + lambda |a|_1 where the sparse step starts and where it ends; ``None`` where there is no such step.
    """

    rate_before: Float[np.ndarray, "images layers"]
    rate_after: Float[np.ndarray, "images layers"]
    lasso_before: Float[np.ndarray, "images layers"] | None
    lasso_after: Float[np.ndarray, "images layers"] | None

    @property
    def compressing(self) -> Float[np.ndarray, " layers"]:
        """Share of the images whose R^c each layer's attention lowers."""
        return (self.rate_after < self.rate_before).mean(axis=0)

    @property
    def descending(self) -> Float[np.ndarray, " layers"] | None:
        """Share of the images whose LASSO objective each layer's sparse step lowers."""
        return None if self.lasso_before is None else (self.lasso_after < self.lasso_before).mean(axis=0)


@dataclass(frozen=True, kw_only=True)
class LayerSteps:
    """The steps of a model and those of an untrained one of the same shape; ``layers`` are zero-based."""

    layers: tuple[int, ...]
    epsilon_squared: float
    normalisation: Normalisation
    trained: Steps
    untrained: Steps


def layer_steps(
    model: Backbone,
    images: Float[Tensor, "images channels height width"] | Iterable,
    *,
    epsilon_squared: float = 0.01,
    normalisation: Normalisation = "head",
    untrained: Backbone | None = None,
) -> LayerSteps:
    r"""Measure on each image whether MSSA lowers :math:`R^c` and the sparse step its LASSO objective.

    .. math:: R^c(Z^{\ell+1/2} \mid U^\ell_{[K]}) < R^c(Z^\ell \mid U^\ell_{[K]}), \qquad
              F(A) = \tfrac12 \|Z - D A\|_F^2 + \lambda \|A\|_1, \quad Z = \mathrm{LN}(Z^{\ell+1/2})

    (arXiv 2306.01129, section 2.) ISTA starts at :math:`A = Z`, whose negative entries count by their magnitude, and
    ends at its output; ODL starts at 0 and ends at its code.

    Args:
        images: preprocessed images, or an iterable of batches of them or of ``(images, labels)`` pairs.
        normalisation: as in ``layerwise_objective``.
        untrained: the control; ``untrained_twin(model)`` unless given.

    Raises:
        ValueError: there are no images, or the model is folded.
    """
    check_normalisation(normalisation)
    if model.folded:
        raise ValueError("a folded model has lost its dictionaries: measure the model that it was made from")
    judges = [model, untrained_twin(model) if untrained is None else untrained]
    parts: list[list[dict[str, np.ndarray]]] = [[], []]
    for batch in batches(images, batch_size=64):
        for judged, found in zip(judges, parts, strict=True):
            values = _measure(judged, to_model(judged, batch), epsilon_squared, normalisation)
            found.append({name: part.cpu().numpy() for name, part in values.items()})
    if not sum(len(part["rate_before"]) for part in parts[0]):
        raise ValueError("measuring the steps of layers needs at least one image")
    trained, control = (_joined(found) for found in parts)
    return LayerSteps(
        layers=tuple(range(len(model.blocks))),
        epsilon_squared=epsilon_squared,
        normalisation=normalisation,
        trained=trained,
        untrained=control,
    )


def _joined(parts: list[dict[str, np.ndarray]]) -> Steps:
    names = ("rate_before", "rate_after", "lasso_before", "lasso_after")
    return Steps(**{n: np.concatenate([part[n] for part in parts]) if n in parts[0] else None for n in names})


def _measure(
    model: Backbone, images: Tensor, epsilon_squared: float, normalisation: Normalisation
) -> dict[str, Tensor]:
    found: dict[str, list[Tensor]] = {}

    def rate(block: Block, quantity: str, z: Tensor) -> Tensor:
        tokens = block.norm1(z)
        scaled = scale(block.project(tokens), tokens, normalisation)
        return keep(quantity, subspace_coding_rate(scaled, epsilon_squared=epsilon_squared))

    def keep(quantity: str, values: Tensor) -> Tensor:
        found.setdefault(quantity, []).append(values)
        return values

    def sparsify(step: SparseStep, z: Tensor) -> Tensor:
        start = z if step.starts_at_input else z.new_zeros(*z.shape[:2], step.dictionary.shape[1])
        keep("lasso_before", lasso(step, z, start))
        held.append(z)
        return z.new_empty(0)

    def sparsified(step: SparseStep, code: Tensor) -> Tensor:
        return keep("lasso_after", lasso(step, held.pop(), code))

    held: list[Tensor] = []
    with frozen(model):
        z = model.embed(images)
        for layer, block in enumerate(model.blocks):
            rate(block, "rate_before", z)
            listeners = [("z_half", partial(rate, block, "rate_after"))]
            step = block.sparse_step
            if step is not None:
                listeners += [("norm2", partial(sparsify, step)), (block.sparse_code, partial(sparsified, step))]
            with ExitStack() as recording:
                for name, reduce in listeners:
                    recording.enter_context(record(block, name, reduce=reduce))
                z = model.run_block(layer, z)
    return {quantity: torch.stack(values, dim=-1) for quantity, values in found.items()}


def lasso(
    step: SparseStep, z: Float[Tensor, "batch tokens dim"], code: Float[Tensor, "batch tokens atoms"]
) -> Float[Tensor, " batch"]:
    r"""The objective :math:`\tfrac12 \|z - D a\|^2 + \lambda \|a\|_1` of an ``ISTA`` or ``ODL``, mean over tokens."""
    residual = z - F.linear(code, step.dictionary)
    objective = residual.square().sum(dim=-1) / 2 + step.sparsity_weight * code.abs().sum(dim=-1)
    return objective.mean(dim=-1)
