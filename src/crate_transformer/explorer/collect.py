"""What the page shows of models and pictures, measured and packed."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from crate_transformer.data import normalise, pixels, preprocess
from crate_transformer.explorer.encoding import Bits, bitmap
from crate_transformer.explorer.tokens import head_dim_of, kind_of, layer_data, patch_colours, recorded
from crate_transformer.inspection import (
    ReferenceMeans,
    class_names,
    classify,
    head_effects,
    layer_steps,
    layerwise_objective,
    maskcut,
    num_atoms,
    untrained_twin,
    whole_picture,
)
from crate_transformer.inspection.best_head import best_head
from crate_transformer.inspection.maskcut import MAX_GRAPH
from crate_transformer.models import Backbone
from crate_transformer.storage import plain, printable

FORMAT = 1
CLASSES = 5
EPSILON_SQUARED = 0.01
FEW_HEADS = 64
"""Of all layers: up to so many are switched off one by one unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The images whose mean takes the place of a head that is switched off, with the name that the page gives them."""

    name: str
    means: ReferenceMeans


def collect(
    models: Mapping[str, Backbone],
    pictures: Sequence[tuple[str, Image.Image]],
    *,
    title: str,
    short_side: int,
    bits: Bits = 8,
    references: Mapping[str, Reference] | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, object]:
    """Measure everything that the page shows.

    Args:
        models: one, or two to be compared, by the names that the page gives them.
        pictures: names and pictures.
        short_side: pixels of the shorter side, rounded to whole patches; see ``whole_picture``.
        bits: of a stored number.
        references: by the models' names; single heads are switched off for those that have one and know classes.
        progress: called with the number of steps done, of ``num_steps``.

    Raises:
        ValueError: there are no pictures, not one or two models, or as ``whole_picture``.
    """
    if not 1 <= len(models) <= 2:
        raise ValueError(f"there are {len(models)} models: the page shows one, or two beside each other")
    if not pictures:
        raise ValueError("there are no pictures to show")
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done)

    shown, columns, described = None, [], []
    for name, model in models.items():
        reference = (references or {}).get(name)
        whole = [whole_picture(model, picture, short_side) for _, picture in pictures]
        shown = shown or whole
        views = _views(model, [picture for _, picture in pictures], whole, bits, reference, step)
        columns.append(views)
        described.append(_model(name, model, views, bits, reference))
    data = {
        "format": FORMAT,
        "title": title,
        "server": None,
        "models": described,
        "pictures": [
            {
                "name": printable(name),
                "source": _source(image),
                "width": image.width,
                "height": image.height,
                "views": [
                    {key: value for key, value in views[number].items() if key != "untrained"} for views in columns
                ],
            }
            for number, ((name, _), image) in enumerate(zip(pictures, shown, strict=True))
        ],
    }
    return plain(data)


def num_steps(models: Mapping[str, Backbone], pictures: int) -> int:
    """How often ``collect`` reports progress."""
    return len(models) * (2 * pictures + 1)


def has_few_heads(model: Backbone) -> bool:
    """Whether switching every head off takes seconds, not minutes."""
    return len(model.blocks) * model.config.num_heads <= FEW_HEADS


def _model(name: str, model: Backbone, views: list[dict], bits: Bits, reference: Reference | None) -> dict[str, object]:
    best, config = best_head(model), model.config
    atoms = {"count": num_atoms(model), "name": "ODL code" if model.blocks[0].sparse_code != "ista" else "ISTA output"}
    provenance = getattr(model, "provenance", None)
    quantities = ("rate_before", "rate_after", "nonzero", "sparse_before", "sparse_after")
    return {
        "name": printable(name),
        "family": type(model).__name__,
        "compares": kind_of(model),
        "layers": len(model.blocks),
        "heads": config.num_heads,
        "head_dim": head_dim_of(model),
        "prefix": model.num_prefix_tokens,
        "class_token": model.num_prefix_tokens > 0,
        "patch": list(model.patch_size),
        "bits": bits,
        "epsilon_squared": EPSILON_SQUARED,
        "lowers_rate": model.blocks[0].lowers_rate,
        "atoms": atoms if num_atoms(model) else None,
        "best_head": best and {"layer": best.layer, "head": best.head, "why": printable(best.chosen)},
        "about": "" if provenance is None else printable(str(provenance), lines=True),
        "reference": "" if reference is None else reference.name,
        "curves": {
            quantity: None
            if views[0][quantity] is None
            else {
                "set": np.mean([view[quantity] for view in views], axis=0),
                "untrained": np.mean([view["untrained"][quantity] for view in views], axis=0),
            }
            for quantity in quantities
        },
    }


def _views(
    model: Backbone,
    pictures: Sequence[Image.Image],
    whole: Sequence[Image.Image],
    bits: Bits,
    reference: Reference | None,
    step: Callable[[], None],
) -> list[dict[str, object]]:
    """What one model makes of each picture."""
    twin, seen = untrained_twin(model), []
    for image in whole:
        seen.append(recorded(model, normalise(pixels(image), model.preprocessing)[None]))
        step()
    layers = range(len(model.blocks))
    colours = [patch_colours(model, [tokens["projection"][layer] for tokens in seen]) for layer in layers]
    effects = _effects(model, pictures, reference)
    step()
    views = []
    for number, (picture, image) in enumerate(zip(pictures, whole, strict=True)):
        images = normalise(pixels(image), model.preprocessing)[None]
        rows, columns = model.grid_size(image.height, image.width)
        cuts = maskcut(model, images).masks[0] if rows * columns <= MAX_GRAPH else []
        views.append(
            {
                "grid": [rows, columns],
                "top": [[printable(kind), share] for kind, share in classify(model, picture, CLASSES)]
                if model.num_classes
                else [],
                **_curves(model, twin, images),
                "objects": [bitmap(mask) for mask in cuts if mask.any()],
                "effects": effects and effects[number],
                "layers": [
                    layer_data(
                        model,
                        {name: parts[layer] for name, parts in seen[number].items()},
                        colours[layer][number],
                        bits,
                    )
                    for layer in layers
                ],
            }
        )
        step()
    return views


def _curves(model: Backbone, twin: Backbone, images: Tensor) -> dict[str, object]:
    """The objective by layer of one picture, and ``untrained``, that of an untrained model."""
    steps = layer_steps(model, images, epsilon_squared=EPSILON_SQUARED, untrained=twin)
    objective = layerwise_objective(model, images, epsilon_squared=EPSILON_SQUARED, untrained=twin)
    found = []
    for side, nonzero in ((steps.trained, objective.nonzero), (steps.untrained, objective.untrained_nonzero)):
        found.append(
            {
                "rate_before": side.rate_before[0],
                "rate_after": side.rate_after[0],
                "nonzero": nonzero[0],
                "sparse_before": side.sparse and side.sparse.before[0],
                "sparse_after": side.sparse and side.sparse.after[0],
            }
        )
    return {**found[0], "untrained": found[1]}


def _effects(
    model: Backbone, pictures: Sequence[Image.Image], reference: Reference | None
) -> list[dict[str, object]] | None:
    """What switching a head off does to each picture's prediction."""
    if reference is None or not model.num_classes:
        return None
    images = torch.stack([preprocess(picture, model.preprocessing) for picture in pictures])
    found, names = head_effects(model, images, reference.means, shown=CLASSES), class_names(model)
    return [
        {
            "classes": [printable(names[index]) for index in found.classes[number]],
            "intact": found.intact[number],
            "zero": found.zero[number],
            "mean": found.mean[number],
        }
        for number in range(len(pictures))
    ]


def _source(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=88)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
