"""Predictions and attention maps of one image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from crate_transformer.data import MAX_ASPECT, normalise, pixels
from crate_transformer.inspection.attention import AttentionMaps, attention_maps
from crate_transformer.inspection.classify import classify
from crate_transformer.models import Backbone, VisionModel, attention_of

MAX_PATCHES = 16_384
"""Largest number of patches of an image in one forward pass."""


class UnfitImageError(ValueError):
    """An image with an unsuitable shape; the message gives the reason and follows the name of the image."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One image with its predicted classes and the attention of the class token.

    ``image`` is the image at the size used for attention, ``(height, width, 3)`` bytes; ``top`` are the most likely
    classes with their probabilities (empty without a classifier); ``attention`` is ``None`` for a model without
    attention maps or class token.
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
    """Classify ``picture`` with the evaluation preprocessing, then compute attention maps over the whole image.

    Args:
        short_side: shorter side in pixels for the maps; both sides are rounded to whole patches, see
            ``whole_picture``.

    Raises:
        ValueError: the image is more than 16 times as long as wide, a square of this size has more than 16,384
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
    """Whether there is attention of a class token; see ``missing_attention``."""
    return missing_attention(model) is None


def missing_attention(model: Backbone) -> str | None:
    """Why there is no attention of a class token: blocks do not compare tokens, or there is no class token in them."""
    kind = type(model).__name__
    if not all(attention_of(block).rows for block in model.blocks):
        return f"{kind} has no softmax attention in its blocks"
    return None if model.num_prefix_tokens else f"this {kind} has no class token"


def whole_picture(
    model: VisionModel, picture: Image.Image, short_side: int, *, max_patches: int = MAX_PATCHES
) -> Image.Image:
    """The image resized to whole patches, with a shorter side of about ``short_side`` pixels; nothing is cropped.

    A long image that would have more than ``max_patches`` patches is made smaller.

    Raises:
        UnfitImageError: the image is more than 16 times as long as wide; the message does not contain its name.
        ValueError: even a square of this size has too many patches.
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
            f"a shorter side of {short_side} pixels gives at least {square:,} patches per image, more than "
            f"{max_patches:,}: choose a smaller --size"
        )
    scale = short_side / short
    across, down = (max(1, round(side * scale / of)) for side, of in zip(picture.size, (columns, rows), strict=True))
    if across * down > max_patches:
        shape = picture.width * rows / (picture.height * columns)
        down = max(1, int((max_patches / shape) ** 0.5))
        across = min(max(1, int((max_patches * shape) ** 0.5)), max_patches // down)
    return picture.resize((across * columns, down * rows), Image.Resampling.BICUBIC)
