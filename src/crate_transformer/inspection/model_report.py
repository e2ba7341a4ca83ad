"""All measurements of one model on a few images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from crate_transformer.data import normalise, pixels, preprocess, resize_crop
from crate_transformer.inspection.controls import untrained_twin
from crate_transformer.inspection.energies import EnergySteps, energy_steps, has_energies
from crate_transformer.inspection.layerwise import LayerwiseObjective, layerwise_objective
from crate_transformer.inspection.look import Look, look, missing_attention
from crate_transformer.inspection.maskcut import MaskCut, maskcut
from crate_transformer.inspection.pca import FeaturePCA, feature_pca
from crate_transformer.inspection.semantics import HeadSemantics, head_semantics
from crate_transformer.inspection.steps import LayerSteps, layer_steps
from crate_transformer.inspection.subspaces import SubspaceGeometry, has_subspaces, subspace_geometry
from crate_transformer.models import Backbone

_SHOWN = 8
_MAX_PATCHES_A_SIDE = 60


@dataclass(frozen=True, kw_only=True)
class Inside:
    """Results for each image, and measurements on all of them; ``None`` where the model or the images do not allow one.

    ``crops`` are the first eight images at the size used for ``cuts`` and ``components``: cropped as in evaluation but
    twice as large (at most 60 patches per side). The other measurements use the evaluation ``size`` (height, width).
    ``missing`` has one reason for everything that is ``None``, except energies: only some families have them.
    """

    looks: tuple[Look, ...]
    size: tuple[int, int]
    objective: LayerwiseObjective
    steps: LayerSteps
    energies: EnergySteps | None
    untrained_energies: EnergySteps | None
    geometry: SubspaceGeometry | None
    crops: UInt8[np.ndarray, "shown height width 3"]
    cuts: MaskCut
    components: FeaturePCA
    heads: HeadSemantics | None
    missing: tuple[str, ...]


def look_inside(
    model: Backbone,
    pictures: Iterable[tuple[str, Image.Image]],
    *,
    short_side: int,
    layers: Sequence[int] | None = None,
    heads_layer: int = -1,
) -> Inside:
    """Measure everything that ``crate inspect`` shows; all controls use the same untrained model.

    Args:
        pictures: names and images.
        short_side: for the attention maps, like ``layers``; see ``look``.
        heads_layer: the layer whose heads are compared across the images.

    Raises:
        ValueError: there are no images, or one is unsuitable; see ``look``.
    """
    looks, inputs, crops = [], [], []
    fitted, size = model.preprocessing, model.preprocessing.img_size
    height, width = (
        max(side, min(2 * side, _MAX_PATCHES_A_SIDE * patch))
        for side, patch in zip(size, model.patch_size, strict=True)
    )
    for name, picture in pictures:
        looks.append(look(model, picture, name, short_side=short_side, layers=layers))
        inputs.append(preprocess(picture, fitted))
        if len(crops) < _SHOWN:
            crops.append(
                resize_crop(picture, (height, width), crop_pct=fitted.crop_pct, interpolation=fitted.interpolation)
            )
    if not looks:
        raise ValueError("looking inside a model needs at least one image")
    images = torch.stack(inputs)
    large = torch.stack([normalise(pixels(crop), fitted) for crop in crops])
    twin, kind, missing = untrained_twin(model), type(model).__name__, []
    geometry = heads = None
    if has_subspaces(model):
        geometry = subspace_geometry(model, untrained=twin)
    else:
        missing.append(f"{kind} has no subspaces and dictionaries: no geometry")
    if why := missing_attention(model):
        missing.append(f"{why}: no attention maps and no comparison of heads")
    elif len(looks) < 2:
        missing.append("only one image: no comparison of heads across images")
    else:
        heads = head_semantics(model, images, layer=heads_layer, untrained=twin)
    return Inside(
        looks=tuple(looks),
        size=size,
        objective=layerwise_objective(model, images, untrained=twin),
        steps=layer_steps(model, images, untrained=twin),
        energies=energy_steps(model, images) if has_energies(model) else None,
        untrained_energies=energy_steps(twin, images) if has_energies(model) else None,
        geometry=geometry,
        crops=np.stack([np.asarray(crop) for crop in crops]),
        cuts=maskcut(model, large),
        components=feature_pca(model, large),
        heads=heads,
        missing=tuple(missing),
    )
