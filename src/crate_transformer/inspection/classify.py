"""What a model calls a picture."""

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from crate_transformer.data import preprocess
from crate_transformer.inspection.frozen import batches, frozen, to_model
from crate_transformer.inspection.normalisation import at_least_float32
from crate_transformer.models import Backbone

Top = tuple[tuple[str, float], ...]
"""Names and probabilities of the likeliest classes, best first."""


def classify(model: Backbone, picture: Image.Image, top: int = 5) -> Top:
    """The ``top`` likeliest classes of a picture as the model was evaluated; the rest is as in ``classify_batch``."""
    return classify_batch(model, preprocess(picture, model.preprocessing)[None], top)[0]


def classify_batch(model: Backbone, images: Float[Tensor, "images channels height width"], top: int = 5) -> list[Top]:
    """Names and probabilities of the ``top`` likeliest classes of each preprocessed image.

    Where a picture may have several classes, each has a probability of its own.

    Raises:
        ValueError: the model has no classifier, or gives values that are not finite.
    """
    if not model.num_classes:
        raise ValueError(f"this {type(model).__name__} has no classifier: num_classes is 0")
    with frozen(model):
        logits = torch.cat([at_least_float32(model(to_model(model, batch))) for batch in batches(images, 64)])
    if not logits.isfinite().all():
        raise ValueError("the model's answer is not finite: its weights hold NaN or infinity, or overflow")
    best = probabilities(model, logits).topk(min(top, model.num_classes))
    names = class_names(model)
    return [
        tuple((names[i], share) for i, share in zip(indices, shares, strict=True))
        for indices, shares in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def probabilities(model: Backbone, logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
    """Those of all classes together, or, where a picture may have several, of each for itself."""
    return logits.softmax(dim=-1) if model.exclusive_classes else logits.sigmoid()


def class_names(model: Backbone) -> tuple[str, ...]:
    """The names stored with the weights, or numbers."""
    return model.class_names or tuple(f"class {index}" for index in range(model.num_classes))
