"""What one model makes of each picture, measured: pictures of one shape go through it together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from crate_transformer.explorer.encoding import Bits, bitmap
from crate_transformer.explorer.tokens import layer_data, patch_colours, recorded
from crate_transformer.inspection import (
    ReferenceMeans,
    class_names,
    head_effects,
    layer_steps,
    layerwise_objective,
    maskcut,
    untrained_twin,
)
from crate_transformer.inspection.classify import classify_batch
from crate_transformer.inspection.maskcut import MAX_GRAPH
from crate_transformer.models import Backbone
from crate_transformer.storage import printable

CLASSES = 5
EPSILON_SQUARED = 0.01
_TOKENS = 4096
"""Of all pictures that go through a model together; one picture may have more."""
_INPUTS = 16
"""Pictures, in the size of the model's inputs, whose heads are switched off together."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The images whose mean takes the place of a head that is switched off, with the name that the page gives them."""

    name: str
    means: ReferenceMeans


def views_of(
    model: Backbone,
    inputs: Float[Tensor, "pictures channels height width"],
    whole: Sequence[Float[Tensor, "channels _ _"]],
    bits: Bits,
    reference: Reference | None,
    step: Callable[[], None],
) -> list[dict[str, object]]:
    """What the page shows of each picture; ``untrained`` besides, the curves of an untrained model.

    Args:
        inputs: the pictures as the model classifies them.
        whole: the same uncropped, in whole patches.
        step: called once for each picture, and once when heads were switched off.
    """
    tops = classify_batch(model, inputs, CLASSES) if model.num_classes else [()] * len(inputs)
    twin, found, seen = untrained_twin(model), [{} for _ in whole], [[] for _ in whole]
    for numbers in _batches(model, whole):
        images = torch.stack([whole[number] for number in numbers])
        measured = zip(recorded(model, images), _curves(model, twin, images), _objects(model, images), strict=True)
        for number, (tokens, curves, objects) in zip(numbers, measured, strict=True):
            seen[number] = tokens
            found[number] = {**curves, "objects": objects}
            step()
    effects = _effects(model, inputs, reference)
    step()
    layers = range(len(model.blocks))
    colours = [patch_colours(model, [tokens[layer]["features"] for tokens in seen]) for layer in layers]
    return [
        {
            "grid": list(model.grid_size(*image.shape[-2:])),
            "top": [[printable(kind), share] for kind, share in tops[number]],
            **found[number],
            "effects": effects and effects[number],
            "layers": [
                layer_data(block, tokens, coloured[number], bits)
                for block, tokens, coloured in zip(model.blocks, seen[number], colours, strict=True)
            ],
        }
        for number, image in enumerate(whole)
    ]


def _batches(model: Backbone, whole: Sequence[Tensor]) -> Iterator[list[int]]:
    """The numbers of pictures of one shape, as many as go through the model together."""
    shapes: dict[tuple[int, int], list[int]] = {}
    for number, image in enumerate(whole):
        height, width = image.shape[-2:]
        shapes.setdefault((height, width), []).append(number)
    for (height, width), numbers in shapes.items():
        rows, columns = model.grid_size(height, width)
        size = max(1, _TOKENS // (rows * columns))
        yield from (numbers[start : start + size] for start in range(0, len(numbers), size))


def _curves(
    model: Backbone, twin: Backbone, images: Float[Tensor, "pictures channels height width"]
) -> list[dict[str, object]]:
    """The objective by layer of each picture, and ``untrained``, that of an untrained model."""
    steps = layer_steps(model, images, epsilon_squared=EPSILON_SQUARED, untrained=twin)
    objective = layerwise_objective(model, images, epsilon_squared=EPSILON_SQUARED, untrained=twin)
    sides = ((steps.trained, objective.nonzero), (steps.untrained, objective.untrained_nonzero))
    found = []
    for number in range(len(images)):
        trained, untrained = (
            {
                "rate_before": side.rate_before[number],
                "rate_after": side.rate_after[number],
                "nonzero": nonzero[number],
                "sparse_before": side.sparse and side.sparse.before[number],
                "sparse_after": side.sparse and side.sparse.after[number],
            }
            for side, nonzero in sides
        )
        found.append({**trained, "untrained": untrained})
    return found


def _objects(model: Backbone, images: Float[Tensor, "pictures channels height width"]) -> list[list[str]]:
    """The objects that MaskCut finds in each picture; none where a picture has too many patches for it."""
    rows, columns = model.grid_size(*images.shape[-2:])
    if rows * columns > MAX_GRAPH:
        return [[] for _ in images]
    return [[bitmap(mask) for mask in masks if mask.any()] for masks in maskcut(model, images).masks]


def _effects(
    model: Backbone, inputs: Float[Tensor, "pictures channels height width"], reference: Reference | None
) -> list[dict[str, object]] | None:
    """What switching a head off does to each picture's prediction."""
    if reference is None or not model.num_classes:
        return None
    names, effects = class_names(model), []
    for images in inputs.split(_INPUTS):
        found = head_effects(model, images, reference.means, shown=CLASSES)
        effects += [
            {
                "classes": [printable(names[index]) for index in found.classes[number]],
                "intact": found.intact[number],
                "zero": found.zero[number],
                "mean": found.mean[number],
            }
            for number in range(len(images))
        ]
    return effects
