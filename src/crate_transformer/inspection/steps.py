"""Measures whether each step of every layer lowers the objective from which it was derived."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.inspection.controls import untrained_twin
from crate_transformer.inspection.frozen import batches, frozen, joined, to_model
from crate_transformer.inspection.normalisation import Normalisation, at_least_float32, check_normalisation, scale
from crate_transformer.inspection.record import record
from crate_transformer.layers import SparseStep
from crate_transformer.models import Backbone, Block
from crate_transformer.objective import lasso, subspace_coding_rate


@dataclass(frozen=True, kw_only=True)
class SparseDescent:
    r"""The sparse step of every layer on every image, compared with the guarantee for proximal-gradient steps.

    ``before`` is the LASSO objective :math:`F` at the feasible start :math:`u`, ``after`` that of the code, and
    ``bound`` the guaranteed upper bound of :math:`F` for the code, each as the mean over tokens; see ``layer_steps``.
    ``lowered`` and ``bounded`` are the fractions of tokens whose objective is below :math:`F(u)` and not above the
    bound. The guarantee requires ``squared_norm``, :math:`\|D\|_2^2`, to be at most ``inverse_step``, :math:`1 / \eta`.
    ``starts_feasible`` says whether the step itself starts at :math:`u`, which is true for ODL and false for ISTA.
    """

    before: Float[np.ndarray, "images layers"]
    after: Float[np.ndarray, "images layers"]
    bound: Float[np.ndarray, "images layers"]
    lowered: Float[np.ndarray, "images layers"]
    bounded: Float[np.ndarray, "images layers"]
    squared_norm: Float[np.ndarray, " layers"]
    inverse_step: Float[np.ndarray, " layers"]
    starts_feasible: bool


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Both steps of every layer on every image.

    ``rate_before`` and ``rate_after`` are R^c in the layer's subspaces at its input and after attention, both with the
    same norm and projection. ``sparse`` is ``None`` without a sparse step.
    """

    rate_before: Float[np.ndarray, "images layers"]
    rate_after: Float[np.ndarray, "images layers"]
    sparse: SparseDescent | None

    @property
    def compressing(self) -> Float[np.ndarray, " layers"]:
        """Fraction of the images whose R^c is lowered by the attention of each layer."""
        return (self.rate_after < self.rate_before).mean(axis=0)

    @property
    def unchanged(self) -> bool:
        """Whether attention changes R^c of no image, because its step sizes are zero."""
        return np.array_equal(self.rate_after, self.rate_before)


@dataclass(frozen=True, kw_only=True)
class LayerSteps:
    """The steps of a model and of an untrained model of the same shape; ``layers`` are zero-based.

    ``derived`` says whether the family's attention was derived as a step that lowers R^c; if not (a ViT, or a ToST,
    which lowers another bound), its R^c is only for comparison.
    """

    layers: tuple[int, ...]
    epsilon_squared: float
    normalisation: Normalisation
    derived: bool
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
    r"""Measure on each image whether attention lowers :math:`R^c`, and whether the sparse step lowers its LASSO
    objective.

    .. math:: R^c(Z^{\ell+1/2} \mid U^\ell_{[K]}) < R^c(Z^\ell \mid U^\ell_{[K]}), \qquad
              F(a) = \tfrac12 \|z - D a\|^2 + \lambda \|a\|_1 \quad (a \ge 0), \quad z = \mathrm{LN}(z^{\ell+1/2})

    (arXiv 2306.01129, section 2.) MSSA approximates the first inequality. It is derived with the output map
    :math:`U_{[K]}`, but trained models have a separate map, and for the tokens it is applied to, but the block adds it
    to the tokens before the norm. So it is not guaranteed.

    The second is partly guaranteed. ISTA starts at :math:`z`, which has negative entries and is not feasible, so that
    :math:`F(z)` is not a valid start for comparison. For :math:`k` proximal-gradient steps from :math:`a_0` with
    :math:`\eta \le 1 / \|D\|_2^2` and every feasible :math:`u`

    .. math:: F(a_k) \le F(u) + \|u - a_0\|^2 / (2 \eta k)

    (Beck and Teboulle 2009, theorem 3.1; the proof holds for any :math:`a_0`). Measured are this bound and
    :math:`F(u)` for the nearest feasible start, :math:`u = \mathrm{ReLU}(a_0)`: :math:`\mathrm{ReLU}(z)` for ISTA with
    :math:`k = 1`, and 0 for ODL with :math:`k = 2`, where the bound is :math:`F(u)` itself.

    Args:
        images: preprocessed images, or an iterable of batches of them or of ``(images, labels)`` pairs.
        normalisation: as in ``layerwise_objective``.
        untrained: the control; default: ``untrained_twin(model)``.

    Raises:
        ValueError: there are no images, the model is folded, or a measured number is not finite.
    """
    check_normalisation(normalisation)
    if model.folded:
        raise ValueError("a folded model no longer has its dictionaries: measure the original model")
    judges = [model, untrained_twin(model) if untrained is None else untrained]
    parts: list[list[dict[str, np.ndarray]]] = [[], []]
    for batch in batches(images, batch_size=64):
        for judged, found in zip(judges, parts, strict=True):
            values = _measure(judged, to_model(judged, batch), epsilon_squared, normalisation)
            found.append({name: part.cpu().numpy() for name, part in values.items()})
    if not sum(len(part["rate_before"]) for part in parts[0]):
        raise ValueError("measuring the steps of the layers needs at least one image")
    trained, control = (_steps(judged, found) for judged, found in zip(judges, parts, strict=True))
    return LayerSteps(
        layers=tuple(range(len(model.blocks))),
        epsilon_squared=epsilon_squared,
        normalisation=normalisation,
        derived=model.blocks[0].lowers_rate,
        trained=trained,
        untrained=control,
    )


def _steps(model: Backbone, parts: list[dict[str, np.ndarray]]) -> Steps:
    found = joined(parts)
    rates = {name: found.pop(name) for name in ("rate_before", "rate_after")}
    steps = [step for block in model.blocks if (step := block.sparse_step) is not None]
    if len(steps) < len(model.blocks):
        return Steps(**rates, sparse=None)
    norms = [float(torch.linalg.matrix_norm(step.dictionary.detach().double(), 2)) for step in steps]
    sparse = SparseDescent(
        **found,
        squared_norm=np.square(norms),
        inverse_step=np.array([1 / step.step_size for step in steps]),
        starts_feasible=not steps[0].starts_at_input,
    )
    return Steps(**rates, sparse=sparse)


def _measure(
    model: Backbone, images: Tensor, epsilon_squared: float, normalisation: Normalisation
) -> dict[str, Tensor]:
    """``(images, layers)`` of every quantity of one batch."""
    found: dict[str, list[Tensor]] = {}

    def keep(quantity: str, values: Tensor) -> None:
        found.setdefault(quantity, []).append(values)

    def rate(block: Block, quantity: str, z: Tensor) -> Tensor:
        tokens = block.norm1(z)
        scaled = scale(block.project(tokens), tokens, normalisation)
        keep(quantity, subspace_coding_rate(scaled, epsilon_squared=epsilon_squared))
        return z.new_empty(0)

    def hold(z: Tensor) -> Tensor:
        held.append(z)
        return z.new_empty(0)

    def sparsified(step: SparseStep, code: Tensor) -> Tensor:
        for quantity, values in descent(step, held.pop(), code).items():
            keep(quantity, values.mean(dim=-1))
        return code.new_empty(0)

    held: list[Tensor] = []
    with frozen(model):
        z = model.embed(images)
        context = model.context(z, *images.shape[-2:])
        for layer, block in enumerate(model.blocks):
            rate(block, "rate_before", z)
            reductions = [("z_half", partial(rate, block, "rate_after"))]
            step = block.sparse_step
            if step is not None:
                reductions += [("norm2", hold), (block.sparse_code, partial(sparsified, step))]
            with ExitStack() as recording:
                for name, reduce in reductions:
                    recording.enter_context(record(cast(nn.Module, block), name, reduce=reduce))
                z = model.run_block(layer, z, **context)
    return {quantity: torch.stack(values, dim=-1) for quantity, values in found.items()}


def descent(
    step: SparseStep, z: Float[Tensor, "batch tokens dim"], code: Float[Tensor, "batch tokens atoms"]
) -> dict[str, Float[Tensor, "batch tokens"]]:
    """For each token ``before``, ``after``, ``bound``, ``lowered`` and ``bounded``; see ``SparseDescent``."""
    z = at_least_float32(z)
    start = z if step.starts_at_input else z.new_zeros(code.shape)
    feasible = start.relu()
    objective = partial(lasso, dictionary=step.dictionary, sparsity_weight=step.sparsity_weight)
    before, after = objective(z, feasible), objective(z, code)
    bound = before + (feasible - start).square().sum(dim=-1) / (2 * step.step_size * step.num_steps)
    lowered, bounded = (after < before).to(z.dtype), (after <= bound).to(z.dtype)
    return {"before": before, "after": after, "bound": bound, "lowered": lowered, "bounded": bounded}
