"""Comparison of the heads of a layer across images."""

from dataclasses import dataclass

import numpy as np
import scipy.special
import torch
from jaxtyping import Float
from torch import Tensor

from crate_transformer.inspection.attention import attention_maps
from crate_transformer.inspection.controls import untrained_twin
from crate_transformer.inspection.frozen import frozen, to_model
from crate_transformer.inspection.normalisation import at_least_float32
from crate_transformer.inspection.record import record
from crate_transformer.models import Backbone


@dataclass(frozen=True, kw_only=True)
class HeadSummary:
    """The heads of one layer over a set of images.

    ``mean_map``: the map averaged over images; a head that attends only to positions is fully described by it.
    ``entropy``: mean over images, as a fraction of the maximum (1: uniform attention). ``consistency``: mean cosine
    similarity of the gathered features over pairs of images, see ``head_summary``; ``shuffled_consistency`` uses the
    map of another image, ``untrained_consistency`` an untrained model. A head has learned to attend to the same content
    in every image only if its consistency is above both.
    """

    layer: int
    mean_map: Float[np.ndarray, "heads rows columns"]
    entropy: Float[np.ndarray, " heads"]
    consistency: Float[np.ndarray, " heads"]
    shuffled_consistency: Float[np.ndarray, " heads"]
    untrained_consistency: Float[np.ndarray, " heads"]


def _projected_patches(
    model: Backbone, images: Tensor, layer: int
) -> Float[np.ndarray, "images heads patches head_dim"]:
    parts = []
    for batch in images.split(64):
        with frozen(model), record(model, f"blocks.{layer}.*.projection") as seen:
            model.forward_features(to_model(model, batch))
        (projection,) = seen.values()
        parts.append(at_least_float32(projection[:, :, model.num_prefix_tokens :]).cpu())
    return torch.cat(parts).numpy()


def _consistency(
    features: Float[np.ndarray, "images heads patches head_dim"], maps: Float[np.ndarray, "images heads patches"]
) -> Float[np.ndarray, " heads"]:
    gathered = (maps[:, :, None] @ features)[:, :, 0]
    gathered = gathered / np.linalg.norm(gathered, axis=-1, keepdims=True).clip(min=1e-12)
    count = len(gathered)
    squared_sum = (gathered.sum(axis=0) ** 2).sum(axis=-1)
    return (squared_sum - (gathered**2).sum(axis=(0, -1))) / (count * (count - 1))


def head_summary(
    model: Backbone,
    images: Float[Tensor, "images channels height width"],
    *,
    layer: int = -1,
    untrained: Backbone | None = None,
) -> HeadSummary:
    r"""Summarise the class token's attention in each head, and how consistent the attended content is across images.

    Head ``k`` gathers in image ``i`` the features :math:`f_{k,i} = \sum_j a_{k,i,j} (U_k^\top z_{i,j} - \bar u_k)`: the
    attention-weighted mean over patches ``j`` of its projections (keys for a ViT), minus their mean over all patches of
    all images. The consistency of a head is the mean of :math:`\cos(f_{k,i}, f_{k,i'})` over pairs of images: 1 if the
    content is the same in every image, about 0 if it is unrelated. It is also high before training, because attention
    prefers patches similar to the class token: compare it with the control.

    Args:
        layer: zero-based, negative ones count from the end.
        untrained: the control; default: ``untrained_twin(model)``.

    Raises:
        ValueError: there are fewer than two images, or the layer does not exist.
    """
    if len(images) < 2:
        raise ValueError(f"comparing heads across images needs at least two images, not {len(images)}")
    control = untrained_twin(model) if untrained is None else untrained
    scores: list[np.ndarray] = []
    for judged in (control, model):
        seen = attention_maps(judged, images, layers=[layer])
        maps = seen.maps[:, 0].reshape(*seen.maps[:, 0].shape[:2], -1)
        features = _projected_patches(judged, images, seen.layers[0])
        features = features - features.mean(axis=(0, 2), keepdims=True)
        scores.append(_consistency(features, maps))
    entropy = scipy.special.entr(maps).sum(axis=-1).mean(axis=0) / max(np.log(maps.shape[-1]), 1e-12)
    return HeadSummary(
        layer=seen.layers[0],
        mean_map=seen.maps[:, 0].mean(axis=0),
        entropy=entropy,
        consistency=scores[1],
        shuffled_consistency=_consistency(features, np.roll(maps, 1, axis=0)),
        untrained_consistency=scores[0],
    )
