"""One picture through a model: what it is called, and where every head looks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from crate_transformer.data import MAX_ASPECT, normalise, pixels
from crate_transformer.inspection.attention import AttentionMaps, attention_maps
from crate_transformer.inspection.classify import classify
from crate_transformer.models import Backbone, attention_of

MAX_PATCHES = 16_384
"""Of a picture through a model at once."""


class UnfitImageError(ValueError):
    """A picture of a shape that a model is not asked to take; ``str`` says why, after the picture's name."""


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
        short_side: pixels of the shorter side for the maps; both sides are rounded to whole patches, see
            ``whole_picture``.

    Raises:
        ValueError: the picture is more than 16 times as long as wide, a square of this side has more than 16,384
            patches, or a layer does not exist.
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
        top=classify(model, picture, top) if model.num_classes else (),
        attention=attention,
    )


def has_attention(model: Backbone) -> bool:
    """Whether the model's blocks compare tokens, which a ToST's do not."""
    return all(attention_of(block).rows for block in model.blocks)


def whole_picture(
    model: Backbone, picture: Image.Image, short_side: int, *, max_patches: int = MAX_PATCHES
) -> Image.Image:
    """The picture with sides of whole patches, the shorter one of about ``short_side`` pixels; nothing is cropped.

    A picture longer than wide that would have more than ``max_patches`` patches is made smaller until it has not.

    Raises:
        UnfitImageError: the picture is more than 16 times as long as wide; the sentence lacks its name.
        ValueError: even a square of this side has too many patches.
    """
    short, long = sorted(picture.size)
    if long > MAX_ASPECT * short:
        raise UnfitImageError(
            f"is {long / short:.1f} times as long as wide, more than {MAX_ASPECT}: cut it into pieces"
        )
    rows, columns = model.patch_size
    square = max(1, round(short_side / rows)) * max(1, round(short_side / columns))
    if square > max_patches:
        raise ValueError(
            f"a shorter side of {short_side} pixels makes {square:,} patches or more of any picture, above "
            f"{max_patches:,}: choose a smaller --size"
        )
    scale = short_side / short
    across, down = (max(1, round(side * scale / of)) for side, of in zip(picture.size, (columns, rows), strict=True))
    if across * down > max_patches:
        shape = picture.width * rows / (picture.height * columns)
        down = max(1, int((max_patches / shape) ** 0.5))
        across = min(max(1, int((max_patches * shape) ** 0.5)), max_patches // down)
    return picture.resize((across * columns, down * rows), Image.Resampling.BICUBIC)
