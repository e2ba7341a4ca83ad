"""What each layer does to the objective."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crate_transformer.inspection.controls import untrained_twin
from crate_transformer.inspection.frozen import batches, frozen, to_model
from crate_transformer.inspection.record import record
from crate_transformer.models import Backbone
from crate_transformer.objective import nonzero_fraction, subspace_coding_rate


@dataclass(frozen=True, kw_only=True)
class LayerwiseObjective:
    """Compression and sparsity of every image at every layer, beside those of an untrained model of the same shape.

    ``subspace_rate`` is R^c of the block's input seen through its projection, in nats; ``nonzero`` is the share of
    non-zero entries of the block's output; ``layers`` are zero-based.
    """

    layers: tuple[int, ...]
    epsilon_squared: float
    subspace_rate: Float[np.ndarray, "images layers"]
    nonzero: Float[np.ndarray, "images layers"]
    untrained_subspace_rate: Float[np.ndarray, "images layers"]
    untrained_nonzero: Float[np.ndarray, "images layers"]

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
    untrained: Backbone | None = None,
) -> LayerwiseObjective:
    r"""Measure :math:`R^c(Z^\ell \mid U_{[K]})` and :math:`\|Z^{\ell+1}\|_0 / (dN)` as the released code does.

    The rate is that of :math:`U_k^\top \mathrm{LN}(Z^\ell)`, the projection of the block's *input* with the class token
    included and every token L2-normalised in every head (arXiv 2306.01129, section 3.1, measures the same quantity one
    half-step later and without naming a normalisation). The non-zero share is that of the block's output: for CRATE
    the output of ISTA. A ViT's projection is its keys, and its share is about 1: nothing in it sets entries to zero.

    Args:
        images: preprocessed images, or an iterable of batches of them or of ``(images, labels)`` pairs.
        epsilon_squared: 0.01 in the released code and the paper's figures.
        untrained: the control; ``untrained_twin(model)`` unless given.

    Raises:
        ValueError: there are no images, or ``epsilon_squared`` is not positive.
    """
    control = untrained_twin(model) if untrained is None else untrained

    def rate(projection: Tensor) -> Tensor:
        return subspace_coding_rate(F.normalize(projection, dim=-1), epsilon_squared=epsilon_squared)

    measured: dict[str, list[Tensor]] = {"": [], "untrained_": []}
    for batch in batches(images, batch_size=64):
        for prefix, judged in (("", model), ("untrained_", control)):
            with (
                frozen(judged),
                record(judged, "blocks.*.*.projection", reduce=rate) as rates,
                record(judged, "blocks.*", reduce=nonzero_fraction) as shares,
            ):
                judged.forward_features(to_model(judged, batch))
            columns = [torch.stack(list(seen.values()), dim=-1) for seen in (rates, shares)]
            measured[prefix].append(torch.stack(columns).cpu())
    if not sum(part.shape[1] for part in measured[""]):
        raise ValueError("the layer-wise objective needs at least one image")
    arrays = {
        prefix + name: values
        for prefix, parts in measured.items()
        for name, values in zip(("subspace_rate", "nonzero"), torch.cat(parts, dim=1).numpy(), strict=True)
    }
    return LayerwiseObjective(layers=tuple(range(len(model.blocks))), epsilon_squared=epsilon_squared, **arrays)
