"""The classes of the pixels of a whole image."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from PIL import Image

from crate_transformer.data import normalise, pixels
from crate_transformer.inspection.frozen import frozen, to_model
from crate_transformer.inspection.look import whole_picture
from crate_transformer.inspection.normalisation import at_least_float32
from crate_transformer.models import Segmenter

_MOST_CLASSES = 256


def class_mask(
    model: Segmenter, picture: Image.Image, *, short_side: int | None = None
) -> UInt8[np.ndarray, "height width"]:
    """The most likely class of each pixel of ``picture``, from one forward pass over the whole image.

    The image is resized (see ``whole_picture``), and its logits are resized to the size of the picture.

    Args:
        short_side: shorter side in pixels for the model; default: ``evaluation_side``.

    Raises:
        UnfitImageError: as in ``whole_picture``.
        ValueError: as in ``whole_picture``; there are more than 256 classes, or the outputs are not finite.
    """
    if model.num_classes > _MOST_CLASSES:
        raise ValueError(f"the model has {model.num_classes} classes: a mask can hold {_MOST_CLASSES}")
    whole = whole_picture(model, picture, short_side or evaluation_side(model))
    with frozen(model):
        logits = model(to_model(model, normalise(pixels(whole), model.preprocessing)[None]))[0]
    if not logits.isfinite().all():
        raise ValueError("the outputs of the model are not finite: its weights contain NaN or infinity, or overflow")
    best = torch.full((picture.height, picture.width), -torch.inf)
    found = torch.zeros(best.shape, dtype=torch.uint8)
    for number, plane in enumerate(at_least_float32(logits).cpu()):  # all classes at this size may exceed the memory
        resized = F.interpolate(plane[None, None], best.shape, mode="bilinear", antialias=True)[0, 0]
        found[resized > best] = number
        best = torch.maximum(best, resized)
    return found.numpy()


def evaluation_side(model: Segmenter) -> int:
    """The shorter side in pixels to which images are resized when the model is evaluated."""
    return round(min(model.preprocessing.img_size) / model.preprocessing.crop_pct)
