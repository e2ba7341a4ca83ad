"""What every layer makes of the tokens of a picture, packed for the page."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from crate_transformer.explorer.encoding import Bits, encoded, quantised, shares
from crate_transformer.inspection import frozen, num_atoms, record, to_model, whole_picture
from crate_transformer.inspection.pca import principal_components
from crate_transformer.inspection.projected import at_least_float32
from crate_transformer.models import Backbone

STRONGEST = 8
"""Atoms of each token that are kept."""


def kind_of(model: Backbone) -> str:
    """What attention compares: one projection, queries with keys, or nothing."""
    names = {name.rpartition(".")[2] for name, _ in model.blocks[0].named_modules()}
    return "membership" if "membership" in names else "pair" if "query" in names else "shared"


def head_dim_of(model: Backbone) -> int:
    """Numbers that a head projects a token to."""
    return getattr(model.config, "head_dim", None) or model.config.embed_dim // model.config.num_heads


def expected_bytes(model: Backbone, pictures: Sequence[Image.Image], short_side: int, bits: Bits) -> int:
    """About how large the data of these pictures become."""
    config, kind = model.config, kind_of(model)
    numbers = config.num_heads * head_dim_of(model) * (2 if kind == "pair" else 1)
    scales = 4 * config.num_heads * (2 if kind == "pair" else 1)
    a_token = numbers * bits / 8 + scales + 3 + 6 * STRONGEST * (num_atoms(model) > 0)
    total = 0.0
    for picture in pictures:
        image = whole_picture(model, picture, short_side)
        rows, columns = model.grid_size(image.height, image.width)
        total += 4 / 3 * len(model.blocks) * (rows * columns + model.num_prefix_tokens) * a_token
        total += image.height * image.width / 3
    return round(total)


def recorded(model: Backbone, images: Float[Tensor, "1 channels height width"]) -> dict[str, list[np.ndarray]]:
    """What every layer computes about one picture, by the name of the module."""
    code = model.blocks[0].sparse_code
    names = {"shared": ["projection"], "pair": ["projection", "query"], "membership": ["projection", "membership"]}
    patterns = {name: f"blocks.*.*.{name}" for name in names[kind_of(model)]}
    if code:
        patterns["code"] = f"blocks.*.{code}"
    with frozen(model), record(model, *patterns.values()) as seen:
        model.forward_features(to_model(model, images))
    found: dict[str, list[np.ndarray]] = {name: [] for name in patterns}
    for key, values in seen.items():
        last = key.rpartition(".")[2]
        found[last if last in patterns else "code"].append(at_least_float32(values[0]).cpu().numpy())
    return found


def patch_colours(model: Backbone, projections: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Three principal components of one layer's features over all pictures, each picture's patches as bytes."""
    patches = [
        heads[:, model.num_prefix_tokens :].transpose(1, 0, 2).reshape(heads.shape[1] - model.num_prefix_tokens, -1)
        for heads in projections
    ]
    scores, _ = principal_components(np.concatenate(patches).astype(np.float64), 3)
    low, high = np.quantile(scores, [0.01, 0.99], axis=0)
    scaled = ((scores - low) / np.where(high > low, high - low, 1)).clip(0, 1)
    return np.split(np.rint(255 * scaled).astype(np.uint8), np.cumsum([len(part) for part in patches])[:-1])


def layer_data(model: Backbone, seen: Mapping[str, np.ndarray], colours: np.ndarray, bits: Bits) -> dict[str, object]:
    """One layer of a picture, of what ``recorded`` and ``patch_colours`` gave."""
    return {
        "keys": quantised(seen["projection"], bits),
        "queries": quantised(seen["query"], bits) if "query" in seen else None,
        "membership": shares(seen["membership"], bits) if "membership" in seen else None,
        "colours": encoded(colours),
        "atoms": _strongest(seen["code"]) if "code" in seen else None,
    }


def _strongest(code: Float[np.ndarray, "tokens atoms"]) -> dict[str, str]:
    """The atoms that fire most in each token, strongest first."""
    kept = min(STRONGEST, code.shape[1])
    index = np.argpartition(-code, kept - 1, axis=1)[:, :kept]
    strength = np.take_along_axis(code, index, axis=1)
    order = np.argsort(-strength, axis=1, kind="stable")
    index, strength = (np.take_along_axis(values, order, axis=1) for values in (index, strength))
    spare = STRONGEST - kept
    index, strength = (np.pad(values, ((0, 0), (0, spare))) for values in (index, strength))
    return {"index": encoded(index.astype(np.uint16)), "strength": encoded(strength.clip(min=0).astype(np.float32))}
