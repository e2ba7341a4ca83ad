"""The objective in every layer."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crate_transformer.inspection.controls import untrained_twin
from crate_transformer.inspection.frozen import batches, frozen, joined, to_model
from crate_transformer.inspection.normalisation import Normalisation, at_least_float32, check_normalisation, scale
from crate_transformer.inspection.record import record
from crate_transformer.models import Backbone, Block
from crate_transformer.objective import coding_rate, nonzero_fraction, subspace_coding_rate

Place = Literal["input", "half"]


@dataclass(frozen=True, kw_only=True)
class LayerwiseObjective:
    """Compression and sparsity of every image in every layer, with those of an untrained model of the same shape.

    ``subspace_rate`` is R^c of the projected tokens at ``place``, in nats; ``rate`` is R of the same tokens and
    ``rate_reduction`` their difference, if requested; ``nonzero`` is the fraction of non-zero entries after the sparse
    step. ``layers`` are zero-based; ``normalisation`` is the scaling of the tokens.
    """

    layers: tuple[int, ...]
    epsilon_squared: float
    subspace_rate: Float[np.ndarray, "images layers"]
    nonzero: Float[np.ndarray, "images layers"]
    untrained_subspace_rate: Float[np.ndarray, "images layers"]
    untrained_nonzero: Float[np.ndarray, "images layers"]
    place: Place = "input"
    normalisation: Normalisation = "head"
    rate: Float[np.ndarray, "images layers"] | None = None
    untrained_rate: Float[np.ndarray, "images layers"] | None = None

    @property
    def rate_reduction(self) -> Float[np.ndarray, "images layers"] | None:
        """Delta R = R - R^c; this is the papers' rate reduction only if ``normalisation`` is not ``"head"`` and the
        projection is linear (the keys of a ViT and the projection of a ToST have a bias) with orthonormal columns."""
        return None if self.rate is None else self.rate - self.subspace_rate

    @property
    def untrained_rate_reduction(self) -> Float[np.ndarray, "images layers"] | None:
        """The same for the untrained model."""
        return None if self.untrained_rate is None else self.untrained_rate - self.untrained_subspace_rate

    def mean(self, name: str) -> Float[np.ndarray, " layers"]:
        """Mean over images of the array called ``name``, such as ``"subspace_rate"``."""
        return getattr(self, name).mean(axis=0)

    def spread(self, name: str) -> Float[np.ndarray, " layers"]:
        """Unbiased standard deviation over images of the array called ``name``; zero for a single image."""
        values = getattr(self, name)
        return values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(values[0])


def layerwise_objective(
    model: Backbone,
    images: Float[Tensor, "images channels height width"] | Iterable,
    *,
    epsilon_squared: float = 0.01,
    place: Place = "input",
    normalisation: Normalisation = "head",
    rates: bool = False,
    untrained: Backbone | None = None,
) -> LayerwiseObjective:
    r"""Measure :math:`R^c(Z^\ell \mid U_{[K]})` and :math:`\|Z^{\ell+1}\|_0 / (dN)`, as the released code does.

    The rate is computed from :math:`U_k^\top \mathrm{LN}(Z)` of the block *input* :math:`Z^\ell`, including the class
    token, with every token L2-normalised in every head (arXiv 2306.01129, section 3.1, measures it half a step later,
    at :math:`Z^{\ell+1/2}`, and does not state a normalisation). The fraction of non-zeros is measured after the sparse
    step: on the output of ISTA, on the code of ODL, and otherwise on the block output, which is dense. For a ViT, the
    projection is the keys.

    Args:
        images: preprocessed images, or an iterable of batches of them or of ``(images, labels)`` pairs; batches are
            measured one by one and only the results are kept.
        epsilon_squared: 0.01 in the released code and the paper's figures.
        place: the ``"input"`` of the block, or ``"half"`` way through it (after attention), with the same norm and
            projection.
        normalisation: unit length of each token in every ``"head"``, of each ``"token"`` before the projection, or
            ``"none"`` after the layer norm. With the last two, R^c grows with the norm of the columns of ``U_k``, which
            changes in training: use ``"head"`` to compare layers, or a model with its control.
        rates: also measure R, which takes several times longer, because its Gram matrix is not split into heads.
        untrained: the control; default: ``untrained_twin(model)``.

    Raises:
        ValueError: there are no images, ``epsilon_squared`` is not positive, the place or normalisation does not
            exist, or a measured number is not finite.
    """
    check_normalisation(normalisation)
    if place not in get_args(Place):
        raise ValueError(f"place is {place!r}: choose 'input' or 'half'")
    measure = partial(
        measure_layers, epsilon_squared=epsilon_squared, place=place, normalisation=normalisation, rates=rates
    )
    judges = {"": model, "untrained_": untrained_twin(model) if untrained is None else untrained}
    parts = [
        {
            prefix + name: values.cpu().numpy()
            for prefix, judged in judges.items()
            for name, values in measure(judged, to_model(judged, batch)).items()
        }
        for batch in batches(images, batch_size=64)
    ]
    if not sum(len(part["nonzero"]) for part in parts):
        raise ValueError("the layer-wise objective needs at least one image")
    return LayerwiseObjective(
        layers=tuple(range(len(model.blocks))),
        epsilon_squared=epsilon_squared,
        place=place,
        normalisation=normalisation,
        **joined(parts),
    )


def measure_layers(
    model: Backbone,
    images: Float[Tensor, "images channels height width"],
    *,
    epsilon_squared: float = 0.01,
    place: Place = "input",
    normalisation: Normalisation = "head",
    rates: bool = False,
) -> dict[str, Float[Tensor, "images layers"]]:
    """``subspace_rate``, ``nonzero`` and optionally ``rate`` of one batch, without a control."""
    seen: dict[str, list[dict[str, Tensor]]] = {}
    with frozen(model), ExitStack() as recording:

        def observe(quantity: str, pattern: str, reduce: Callable[[Tensor], Tensor]) -> None:
            seen.setdefault(quantity, []).append(recording.enter_context(record(model, pattern, reduce=reduce)))

        def of_subspaces(projected: Tensor, tokens: Tensor | None = None) -> Tensor:
            return subspace_coding_rate(scale(projected, tokens, normalisation), epsilon_squared=epsilon_squared)

        def of_tokens(block: Block, z: Tensor) -> Tensor:
            tokens = block.norm1(z) if place == "half" else z
            return of_subspaces(block.project(tokens), tokens)

        def rate(block: Block, z: Tensor) -> Tensor:
            tokens = at_least_float32(block.norm1(z) if place == "half" else z)
            return coding_rate(tokens if normalisation == "none" else F.normalize(tokens, dim=-1),
                               epsilon_squared=epsilon_squared)  # fmt: skip

        for layer, block in enumerate(model.blocks):
            tokens_at = f"blocks.{layer}.{'z_half' if place == 'half' else 'norm1'}"
            if place == "input" and normalisation != "token":
                observe("subspace_rate", f"blocks.{layer}.*.projection", of_subspaces)
            else:
                observe("subspace_rate", tokens_at, partial(of_tokens, block))
            if rates:
                observe("rate", tokens_at, partial(rate, block))
        code = model.blocks[0].sparse_code
        observe("nonzero", f"blocks.*.{code}" if code else "blocks.*", nonzero_fraction)
        model.forward_features(images)
    return {
        quantity: torch.stack([value for part in parts for value in part.values()], dim=-1)
        for quantity, parts in seen.items()
    }
