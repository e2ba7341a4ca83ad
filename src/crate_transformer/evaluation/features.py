"""What a frozen model makes of pictures, beside what an untrained one makes of them and the plain pixels."""

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

Tokens = Literal["class", "patches", "both"]
ROWS = ("model", "untrained", "pixels")
PIXEL_SIDE = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenFeatures:
    """Features and labels of pictures to learn from (``reference``) and of others to be measured on (``reported``).

    Rows: ``model``; ``untrained``, a fresh initialisation of it; ``pixels``, the inputs reduced to 16 x 16.

    Raises:
        ValueError: a part has no pictures, the parts do not fit together, or a value is not finite.
    """

    reference: dict[str, Float[Tensor, "_ _"]]
    reference_labels: Int64[Tensor, " reference"]
    reported: dict[str, Float[Tensor, "_ _"]]
    reported_labels: Int64[Tensor, " reported"]

    def __post_init__(self) -> None:
        parts = (
            ("to learn from", self.reference, self.reference_labels),
            ("to measure on", self.reported, self.reported_labels),
        )
        for what, rows, labels in parts:
            if not len(labels):
                raise ValueError(f"there are no pictures {what}")
            if not rows or any(len(features) != len(labels) for features in rows.values()):
                raise ValueError(f"each of the {len(labels)} pictures {what} needs one label and one row of features")
            bad = next((row for row, features in rows.items() if not features.isfinite().all()), None)
            if bad:
                raise ValueError(
                    f"the features of row {bad!r} are not finite: the weights hold NaN or infinity, or overflow"
                )
            if int(labels.min()) < 0:
                raise ValueError(f"there is a label {int(labels.min())}: labels count from 0")
        widths = [{row: features.shape[1] for row, features in rows.items()} for _, rows, _ in parts]
        if widths[0] != widths[1]:
            raise ValueError(f"the features to learn from are {widths[0]} wide, those to measure on {widths[1]}")

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
    """The features of the batches ``(images, labels)`` of two loaders, computed once for every probe.

    Args:
        tokens: normed class token, mean of the normed patch tokens, or both; unless given what the classifier reads.
        layers: of the last so many blocks, side by side.
        untrained: the control; ``untrained_twin(model, seed)`` unless given.

    Raises:
        ValueError: the model takes no pictures, has no such tokens or layers, or its features are not finite; a loader
            is empty.
    """
    if not isinstance(model, Backbone):
        raise ValueError(f"a {type(model).__name__} has no features of pictures: give a model that takes pictures")
    chosen = tokens_of(model, tokens, layers)
    models = {"model": model, "untrained": untrained or untrained_twin(model, seed)}
    sides = [features_of(models, loader, chosen, layers) for loader in (reference, reported)]
    return FrozenFeatures(
        reference=sides[0][0], reference_labels=sides[0][1], reported=sides[1][0], reported_labels=sides[1][1]
    )


def tokens_of(model: Backbone, tokens: Tokens | None, layers: int) -> Tokens:
    """The choice of tokens, checked; unless given what the classifier reads."""
    chosen = tokens or ("patches" if model.config.global_pool == "avg" else "class")
    if chosen not in get_args(Tokens):
        raise ValueError(f"tokens is {tokens!r}: choose one of {', '.join(get_args(Tokens))}")
    if not 1 <= layers <= len(model.blocks):
        raise ValueError(f"there are no last {layers} blocks: the model has {len(model.blocks)}")
    if chosen != "patches" and layers > 1 and not model.num_prefix_tokens:
        raise ValueError(f"{type(model).__name__} has a class token after its last block only: take patches or 1 layer")
    return chosen


def features_of(
    models: dict[str, Backbone], loader: Iterable, tokens: Tokens, layers: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Features by row, those of the models and the pixels, and labels of the batches ``(images, labels)``."""
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
    """Chosen tokens of the last ``layers`` blocks after the final norm, block by block, in float32 at least."""
    final, blocks = model.forward_intermediates(images, layers, return_prefix_tokens=True, norm=True, output_fmt="NLC")
    parts = []
    if tokens != "patches":
        parts += [prefix[:, 0] for _, prefix in blocks[:-1]] + [model.norm(final)[:, 0]]
    if tokens != "class":
        parts += [patches.mean(dim=1) for patches, _ in blocks]
    return at_least_float32(torch.cat(parts, dim=1))


def reduced_pixels(images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch values"]:
    """Means over the cells of a grid of 16 x 16; of smaller pictures all pixels."""
    height, width = (min(side, PIXEL_SIDE) for side in images.shape[-2:])
    return F.adaptive_avg_pool2d(at_least_float32(images), (height, width)).flatten(1).cpu()
