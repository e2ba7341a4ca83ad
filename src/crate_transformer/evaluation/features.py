"""Features of a frozen model, of an untrained model, and of raw pixels."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from crate_transformer.inspection import frozen, to_model, untrained_twin
from crate_transformer.inspection.normalisation import at_least_float32
from crate_transformer.models import Backbone

Tokens = Literal["pooled", "class", "patches", "both"]
ROWS = ("model", "untrained", "pixels")
PIXEL_SIDE = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenFeatures:
    """Features and labels of images to fit on (``reference``) and of images to evaluate on (``reported``).

    Rows: ``model``; ``untrained``, a random initialisation of it; ``pixels``, the inputs reduced to 16 x 16.

    Raises:
        ValueError: a part has no images, the parts do not match, or a value is not finite.
    """

    reference: dict[str, Float[Tensor, "_ _"]]
    reference_labels: Int64[Tensor, " reference"]
    reported: dict[str, Float[Tensor, "_ _"]]
    reported_labels: Int64[Tensor, " reported"]

    def __post_init__(self) -> None:
        parts = (
            ("to fit on", self.reference, self.reference_labels),
            ("to evaluate on", self.reported, self.reported_labels),
        )
        for what, rows, labels in parts:
            if not len(labels):
                raise ValueError(f"there are no images {what}")
            if not rows or any(len(features) != len(labels) for features in rows.values()):
                raise ValueError(f"each of the {len(labels)} images {what} needs one label and one row of features")
            bad = next((row for row, features in rows.items() if not features.isfinite().all()), None)
            if bad:
                raise ValueError(
                    f"the features of row {bad!r} are not finite: the weights contain NaN or infinity, or overflow"
                )
            if int(labels.min()) < 0:
                raise ValueError(f"there is a label {int(labels.min())}: labels must be at least 0")
        widths = [{row: features.shape[1] for row, features in rows.items()} for _, rows, _ in parts]
        if widths[0] != widths[1]:
            raise ValueError(f"the features to fit on are {widths[0]} wide, those to evaluate on {widths[1]}")

    @property
    def num_classes(self) -> int:
        """One more than the largest label."""
        return 1 + int(max(self.reference_labels.max(), self.reported_labels.max()))


def frozen_features(
    model: nn.Module,
    reference: Iterable,
    reported: Iterable,
    *,
    tokens: Tokens | None = None,
    layers: int = 1,
    untrained: nn.Module | None = None,
    seed: int = 0,
) -> FrozenFeatures:
    """The features of the batches ``(images, labels)`` of two loaders, computed once for all probes.

    Args:
        tokens: ``"pooled"`` as in ``forward_head`` (default; of the last block it is the input of the classification
            head), normalised class token, mean of the normalised patch tokens, or ``"both"`` of the last two.
        layers: number of last blocks whose tokens are concatenated.
        untrained: the control; default: ``untrained_twin(model, seed)``.

    Raises:
        ValueError: it is not a vision model, has no such tokens or layers, or its features are not finite; or a loader
            is empty.
    """
    if not isinstance(model, Backbone):
        raise ValueError(f"{type(model).__name__} has no image features: give a vision model")
    chosen = tokens_of(model, tokens, layers)
    models = {"model": model, "untrained": untrained or untrained_twin(model, seed)}
    sides = [features_of(models, loader, chosen, layers) for loader in (reference, reported)]
    return FrozenFeatures(
        reference=sides[0][0], reference_labels=sides[0][1], reported=sides[1][0], reported_labels=sides[1][1]
    )


def tokens_of(model: Backbone, tokens: Tokens | None, layers: int) -> Tokens:
    """The choice of tokens, validated; ``"class"`` where these are the pooled ones."""
    chosen = tokens or "pooled"
    if chosen not in get_args(Tokens):
        raise ValueError(f"tokens is {tokens!r}: choose one of {', '.join(get_args(Tokens))}")
    if chosen == "pooled" and model.config.global_pool != "avg":
        chosen = "class"
    if not 1 <= layers <= len(model.blocks):
        raise ValueError(f"layers is {layers}, but the model has {len(model.blocks)} blocks")
    if chosen in ("class", "both") and not hasattr(model, "cls_token"):
        raise ValueError(f"this {type(model).__name__} has no class token: choose pooled or patches")
    if chosen in ("class", "both") and layers > 1 and not model.num_prefix_tokens:
        raise ValueError(
            f"{type(model).__name__} has a class token only after its last block: choose patches, or 1 layer"
        )
    return chosen


def features_of(
    models: dict[str, Backbone], loader: Iterable, tokens: Tokens, layers: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Features by row (the models and the pixels), and labels, of the batches ``(images, labels)``."""
    found: dict[str, list[Tensor]] = {row: [] for row in ROWS}
    all_labels = [torch.empty(0, dtype=torch.int64)]
    for images, labels in loader:
        for row, model in models.items():
            with frozen(model):
                found[row].append(batch_features(model, to_model(model, images), tokens, layers).cpu())
        found["pixels"].append(reduced_pixels(images))
        all_labels.append(labels.cpu())
    rows = {row: torch.cat(parts) if parts else torch.empty(0, 0) for row, parts in found.items()}
    return rows, torch.cat(all_labels)


def batch_features(
    model: Backbone, images: Float[Tensor, "batch channels height width"], tokens: Tokens, layers: int
) -> Float[Tensor, "batch features"]:
    """Chosen tokens of the last ``layers`` blocks after the final norm, block by block, in float32 or better."""
    final, blocks = model.forward_intermediates(images, layers, return_prefix_tokens=True, output_fmt="NLC")
    outputs = [torch.cat([prefix, patches], dim=1) for patches, prefix in blocks[:-1]] + [final]
    parts = []
    if tokens == "pooled":
        parts += [model.norm(model.pool(z)) for z in outputs]
    if tokens in ("class", "both"):
        parts += [model.norm(z[:, 0]) for z in outputs]
    if tokens in ("patches", "both"):
        parts += [model.norm(patches).mean(dim=1) for patches, _ in blocks]
    return at_least_float32(torch.cat(parts, dim=1))


def reduced_pixels(images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch values"]:
    """Means over the cells of a 16 x 16 grid; all pixels of smaller images."""
    height, width = (min(side, PIXEL_SIDE) for side in images.shape[-2:])
    return F.adaptive_avg_pool2d(at_least_float32(images), (height, width)).flatten(1).cpu()
