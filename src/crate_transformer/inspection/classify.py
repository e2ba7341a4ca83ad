"""Classification of images."""

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from crate_transformer.data import preprocess
from crate_transformer.inspection.frozen import batches, frozen, to_model
from crate_transformer.inspection.normalisation import at_least_float32
from crate_transformer.models import Backbone, VisionModel

Top = tuple[tuple[str, float], ...]
"""Names and probabilities of the most likely classes, in descending order."""


def classify(model: Backbone, picture: Image.Image, top: int = 5) -> Top:
    """The ``top`` most likely classes of an image with the model's evaluation preprocessing; see ``classify_batch``."""
    return classify_batch(model, preprocess(picture, model.preprocessing)[None], top)[0]


def classify_batch(model: Backbone, images: Float[Tensor, "images channels height width"], top: int = 5) -> list[Top]:
    """Names and probabilities of the ``top`` most likely classes of each preprocessed image.

    In a multi-label model each class has an independent probability.

    Raises:
        ValueError: the model has no classifier, or its outputs are not finite.
    """
    if not model.num_classes:
        raise ValueError(f"this {type(model).__name__} has no classifier: num_classes is 0")
    with frozen(model):
        logits = torch.cat([at_least_float32(model(to_model(model, batch))) for batch in batches(images, 64)])
    if not logits.isfinite().all():
        raise ValueError("the outputs of the model are not finite: its weights contain NaN or infinity, or overflow")
    best = probabilities(model, logits).topk(min(top, model.num_classes))
    names = class_names(model)
    return [
        tuple((names[i], share) for i, share in zip(indices, shares, strict=True))
        for indices, shares in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def probabilities(model: Backbone, logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
    """Softmax over all classes, or a sigmoid for each class in a multi-label model."""
    return logits.softmax(dim=-1) if model.exclusive_classes else logits.sigmoid()


def class_names(model: VisionModel) -> tuple[str, ...]:
    """The class names stored with the weights, or numbers."""
    return model.class_names or tuple(f"class {index}" for index in range(model.num_classes))
