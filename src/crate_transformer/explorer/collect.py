"""What the page shows of models and pictures, measured and packed."""

import base64
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from crate_transformer.data import normalise, pixels, preprocess
from crate_transformer.explorer.encoding import Bits
from crate_transformer.explorer.tokens import head_dim_of, kind_of
from crate_transformer.explorer.views import EPSILON_SQUARED, Reference, views_of
from crate_transformer.inspection import num_atoms, whole_picture
from crate_transformer.inspection.best_head import best_head
from crate_transformer.models import Backbone
from crate_transformer.storage import plain, printable

FORMAT = 1
FEW_HEADS = 64
"""Of all layers: up to so many are switched off one by one unless told otherwise."""


def collect(
    models: Mapping[str, Backbone],
    pictures: Sequence[tuple[str, Image.Image]],
    *,
    title: str,
    short_side: int,
    batch: Float[Tensor, "pictures channels height width"] | None = None,
    bits: Bits = 8,
    references: Mapping[str, Reference] | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Measure everything that the page shows.

    Args:
        models: one, or two to be compared, by the names that the page gives them.
        pictures: names and pictures.
        short_side: pixels of the shorter side, rounded to whole patches; see ``whole_picture``.
        batch: the pictures as the models take them, used unchanged; unless given, pictures are classified with each
            model's preprocessing and measured at ``short_side``.
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

    shown: list[Image.Image] = []
    columns, described = [], []
    for name, model in models.items():
        reference = (references or {}).get(name)
        if batch is None:
            fitted = [whole_picture(model, picture, short_side) for _, picture in pictures]
            whole = [normalise(pixels(picture), model.preprocessing) for picture in fitted]
            inputs = torch.stack([preprocess(picture, model.preprocessing) for _, picture in pictures])
        else:
            fitted, whole, inputs = [picture for _, picture in pictures], list(batch), batch
        shown = shown or fitted
        views = views_of(model, inputs, whole, bits, reference, step)
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
    return len(models) * (pictures + 1)


def picture_names(paths: Sequence[str | Path]) -> list[str]:
    """Names of files without the folders that all of them share: a page is sent to others."""
    absolute = [Path(path).absolute() for path in paths]
    shared = os.path.commonpath([path.parent for path in absolute]) if absolute else ""
    return [path.relative_to(shared).as_posix() for path in absolute]


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


def _source(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=88)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
