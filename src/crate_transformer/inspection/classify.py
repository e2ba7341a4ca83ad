"""What a model calls a picture."""

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from crate_transformer.data import preprocess
from crate_transformer.inspection.frozen import frozen, to_model
from crate_transformer.inspection.projected import at_least_float32
from crate_transformer.models import Backbone


def classify(model: Backbone, picture: Image.Image, top: int = 5) -> tuple[tuple[str, float], ...]:
    """Names and probabilities of the ``top`` likeliest classes, best first, of a picture as the model was evaluated.

    Where a picture may have several classes, each has a probability of its own.

    Raises:
        ValueError: the model has no classifier, or gives values that are not finite.
    """
    if not model.num_classes:
        raise ValueError(f"this {type(model).__name__} has no classifier: num_classes is 0")
    with frozen(model):
        logits = at_least_float32(model(to_model(model, preprocess(picture, model.preprocessing)[None])))[0]
    if not logits.isfinite().all():
        raise ValueError("the model's answer is not finite: its weights hold NaN or infinity, or overflow")
    best = probabilities(model, logits).topk(min(top, len(logits)))
    names = class_names(model)
    return tuple((names[i], p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True))


def probabilities(model: Backbone, logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
    """Those of all classes together, or, where a picture may have several, of each for itself."""
    return logits.softmax(dim=-1) if model.exclusive_classes else logits.sigmoid()


def class_names(model: Backbone) -> tuple[str, ...]:
    """The names stored with the weights, or numbers."""
    return model.class_names or tuple(f"class {index}" for index in range(model.num_classes))
