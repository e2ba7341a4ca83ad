"""Whether the steps of a model lower the energies from which they were derived."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crate_transformer.inspection.frozen import batches, frozen, joined, to_model
from crate_transformer.inspection.record import record
from crate_transformer.models import Backbone, EnergyBlock


@dataclass(frozen=True, kw_only=True)
class EnergySteps:
    """Energies of every image before and after both steps of every block, with the weights of that block."""

    attention_before: Float[np.ndarray, "images layers"]
    attention_after: Float[np.ndarray, "images layers"]
    feed_forward_before: Float[np.ndarray, "images layers"]
    feed_forward_after: Float[np.ndarray, "images layers"]

    @property
    def attention_lowered(self) -> Float[np.ndarray, " layers"]:
        """Share of the images whose energy each block's attention lowers."""
        return (self.attention_after < self.attention_before).mean(axis=0)

    @property
    def feed_forward_lowered(self) -> Float[np.ndarray, " layers"]:
        """Share of the images whose energy each block's feed-forward step lowers."""
        return (self.feed_forward_after < self.feed_forward_before).mean(axis=0)

    @property
    def unchanged(self) -> bool:
        """Whether no step changes its energy of any image, because step sizes are zero."""
        attention = np.array_equal(self.attention_after, self.attention_before)
        return attention and np.array_equal(self.feed_forward_after, self.feed_forward_before)


def has_energies(model: Backbone) -> bool:
    """Whether the steps of this model were derived from energies."""
    return all(isinstance(block, EnergyBlock) for block in model.blocks)


def energy_steps(model: Backbone, images: Float[Tensor, "images channels height width"] | Iterable) -> EnergySteps:
    """Measure how every step changes its energy on each image (arXiv 2502.11646); see ``layers.EnergyAttention`` and
    ``layers.EnergyFeedForward``.

    A decrease is not guaranteed: step sizes may be learned and negative, the steps omit the derivative of RMSNorm, the
    weights are not orthogonal, the energies are without gains, and GELU replaces ReLU. The control are the steps of
    ``untrained_twin(model)``; learned step sizes start at zero, so that these change nothing.

    Args:
        images: preprocessed images, or an iterable of batches of them or of ``(images, labels)`` pairs.

    Raises:
        ValueError: the model has no energies, there are no images, or an energy is not finite.
    """
    if not has_energies(model):
        raise ValueError(f"a {type(model).__name__} has no energies: give a HyperSET")
    parts = [_measure(model, to_model(model, batch)) for batch in batches(images, batch_size=64) if len(batch)]
    if not parts:
        raise ValueError("measuring energies needs at least one image")
    return EnergySteps(**joined(parts))


def _measure(model: Backbone, images: Tensor) -> dict[str, np.ndarray]:
    """``(images, layers)`` of every energy of one batch."""
    found: dict[str, list[Tensor]] = {name: [] for name in EnergySteps.__dataclass_fields__}
    with frozen(model):
        z = model.embed(images)
        context = model.context(z, *images.shape[-2:])
        blocks: Sequence[Any] = model.blocks
        for layer, block in enumerate(blocks):
            with record(block, "z_half") as seen:
                after = model.run_block(layer, z, **context)
            (first, _), (second, third), (_, fourth) = map(block.energies, (z, seen["z_half"], after))
            for name, energy in zip(found, (first, second, third, fourth), strict=True):
                found[name].append(energy)
            z = after
    return {name: torch.stack(values, dim=1).float().cpu().numpy() for name, values in found.items()}
