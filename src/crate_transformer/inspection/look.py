"""One picture through a model: what it is called, and where every head looks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from crate_transformer.data import middle, normalise, pixels, preprocess
from crate_transformer.inspection.attention import AttentionMaps, attention_maps
from crate_transformer.models import Backbone

_MAX_PATCHES = 16_384


class UnfitImageError(ValueError):
    """A picture of more patches than a model is asked to take; ``str`` says how many, after the picture's name."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One picture, what the model calls it, and where its class token looks.

    ``image`` is the picture as the attention saw it, ``(height, width, 3)`` bytes; ``top`` are the best classes with
    their probabilities, none where the model has no classifier; ``attention`` is ``None`` where it has none.
    """

    name: str
    image: np.ndarray
    top: tuple[tuple[str, float], ...]
    attention: AttentionMaps | None


def look(
    model: Backbone,
    picture: Image.Image,
    name: str,
    *,
    short_side: int,
    layers: Sequence[int] | None = None,
    top: int = 5,
) -> Look:
    """Classify ``picture`` as the model was evaluated, then map the attention over the whole of it.

    Args:
        short_side: pixels of the shorter side for the maps; both sides are rounded to whole patches.

    Raises:
        ValueError: the picture would have more than 16,384 patches, or a layer does not exist.
    """
    try:
        whole = whole_picture(model, picture, short_side)
    except UnfitImageError as error:
        raise UnfitImageError(f"{name} {error}") from None
    attention = None
    if has_attention(model):
        attention = attention_maps(model, normalise(pixels(whole), model.preprocessing)[None], layers=layers)
    return Look(
        name=name,
        image=np.asarray(whole),
        top=best_classes(model, picture, top) if model.num_classes else (),
        attention=attention,
    )


def has_attention(model: Backbone) -> bool:
    """Whether the model's blocks have softmax attention, which a ToST's have not."""
    return any(name.startswith("blocks.") and name.endswith(".attention") for name, _ in model.named_modules())


def best_classes(model: Backbone, picture: Image.Image, count: int) -> tuple[tuple[str, float], ...]:
    """Names and probabilities of the ``count`` likeliest classes, best first."""
    with torch.inference_mode():
        probabilities = model(preprocess(picture, model.preprocessing)[None]).softmax(dim=-1)[0]
    best = probabilities.topk(min(count, len(probabilities)))
    names = class_names(model)
    return tuple((names[i], p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True))


def whole_picture(model: Backbone, picture: Image.Image, short_side: int) -> Image.Image:
    """The picture with sides of whole patches, the shorter one of about ``short_side`` pixels.

    It is not cropped, but for the ends of pictures more than 16 times as long as wide.
    """
    picture = middle(picture)
    scale = short_side / min(picture.size)
    rows, columns = model.patch_size
    width = max(1, round(picture.width * scale / columns)) * columns
    height = max(1, round(picture.height * scale / rows)) * rows
    patches = math.prod(model.grid_size(height, width))
    if patches > _MAX_PATCHES:
        raise UnfitImageError(
            f"has {patches:,} patches at a shorter side of {short_side} pixels, more than {_MAX_PATCHES:,}: "
            "choose a smaller --size"
        )
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def class_names(model: Backbone) -> tuple[str, ...]:
    """The names stored with the weights, or numbers."""
    return model.class_names or tuple(f"class {index}" for index in range(model.num_classes))
