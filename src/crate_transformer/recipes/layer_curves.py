"""The objective in every layer during training."""

import numpy as np

from crate_transformer.data import EvalView, Samples, Source, normalise, ordered_loader
from crate_transformer.inspection import to_model
from crate_transformer.inspection.layerwise import measure_layers
from crate_transformer.models import LanguageModel, Model, backbone_of

IMAGES = 64


class LayerCurves:
    """``curves(model)`` measures R^c of the input and the fraction of non-zeros of every layer (of a segmenter, of its
    backbone), averaged over at most 64 fixed images from ``held_out``.

    The names, such as ``layer_03_subspace_rate``, are those that ``reports.curves`` draws.

    Raises:
        ValueError: it is a language model.
    """

    def __init__(self, held_out: Samples, model: Model) -> None:
        if not isinstance(held_out, Source) or isinstance(model, LanguageModel):
            raise ValueError("layerwise measures vision models on images: leave it out for text")
        chosen = np.unique(np.linspace(0, len(held_out) - 1, IMAGES).round().astype(int)).tolist()
        loader = ordered_loader(
            held_out.subset(chosen),
            EvalView(model.preprocessing),
            size=model.preprocessing.img_size,
            batch_size=IMAGES,
        )
        self.images = normalise(next(iter(loader))["images"], model.preprocessing)

    def __call__(self, model: Model) -> dict[str, float]:
        found = measure_layers(backbone_of(model, "the model"), to_model(model, self.images))
        return {
            f"layer_{layer:02d}_{quantity}": float(value)
            for quantity, values in found.items()
            for layer, value in enumerate(values.float().mean(dim=0))
        }
