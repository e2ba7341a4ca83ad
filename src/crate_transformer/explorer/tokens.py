"""What every layer makes of the tokens of a picture, packed for the page."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from crate_transformer.explorer.encoding import Bits, encoded, quantised, shares
from crate_transformer.inspection import frozen, num_atoms, record, to_model, whole_picture
from crate_transformer.inspection.normalisation import at_least_float32
from crate_transformer.inspection.pca import principal_components
from crate_transformer.models import Backbone, Block, attention_of

STRONGEST = 8
"""Atoms of each token that are kept."""


def kind_of(model: Backbone) -> str:
    """What attention compares: one vector of each token (``shared``), queries with keys (``pair``), or ``nothing``; in
    a ToST, tokens have a ``membership`` in heads instead."""
    attention = attention_of(model.blocks[0])
    if attention.rows is None:
        return "membership" if hasattr(attention, "membership") else "nothing"
    return "shared" if attention.rows.query == attention.rows.key else "pair"


def head_dim_of(model: Backbone) -> int:
    """Numbers that a head projects a token to."""
    return getattr(model.config, "head_dim", None) or model.config.embed_dim // model.config.num_heads


def expected_bytes(model: Backbone, pictures: Sequence[Image.Image], short_side: int, bits: Bits) -> int:
    """About how large the data of these pictures become."""
    rows = attention_of(model.blocks[0]).rows
    vectors = model.config.num_heads * (1 + len({rows.query, rows.key} - {"projection"} if rows else ()))
    atoms = (STRONGEST * (2 + bits / 8) + 4) * (num_atoms(model) > 0)
    a_token = vectors * (head_dim_of(model) * bits / 8 + 4) + 3 + atoms
    total = 0.0
    for picture in pictures:
        image = whole_picture(model, picture, short_side)
        rows, columns = model.grid_size(image.height, image.width)
        total += 4 / 3 * len(model.blocks) * (rows * columns + model.num_prefix_tokens) * a_token
        total += image.height * image.width / 3
    return round(total)


def recorded(
    model: Backbone, images: Float[Tensor, "pictures channels height width"]
) -> list[list[dict[str, np.ndarray]]]:
    """What every layer computes about each picture, by picture and by layer.

    ``features``, what attention compares where that is something else (``keys``, ``queries``, ``membership``), and of
    the sparse code ``index`` and ``strength`` of the atoms that fire most in each token, strongest first.

    Raises:
        ValueError: a number is not finite.
    """
    modules = [_modules(block, f"blocks.{number}") for number, block in enumerate(model.blocks)]
    with frozen(model), record(model, *(name for layer in modules for name in layer.values())) as seen:
        model.forward_features(to_model(model, images))
    found: list[list[dict[str, np.ndarray]]] = [[{} for _ in model.blocks] for _ in images]
    for layer, names in enumerate(modules):
        for what, name in names.items():
            if not seen[name].isfinite().all():
                raise ValueError("the model's features are not finite: its weights hold NaN or infinity, or overflow")
            for picture, part in zip(found, at_least_float32(seen[name]).cpu().numpy(), strict=True):
                picture[layer].update(_strongest(part) if what == "code" else {what: part})
    return found


def _modules(block: Block, name: str) -> dict[str, str]:
    """The modules of a block that output what ``recorded`` tells."""
    part, attention = f"{name}.{block.attention}", attention_of(block)
    modules, rows = {"features": f"{part}.projection"}, attention.rows
    if hasattr(attention, "membership"):
        modules["membership"] = f"{part}.membership"
    if rows and rows.key != "projection":
        modules["keys"] = f"{part}.{rows.key}"
    if rows and rows.query != rows.key:
        modules["queries"] = f"{part}.{rows.query}"
    if block.sparse_code:
        modules["code"] = f"{name}.{block.sparse_code}"
    return modules


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


def layer_data(block: Block, seen: Mapping[str, np.ndarray], colours: np.ndarray, bits: Bits) -> dict[str, object]:
    """One layer of a picture, of what ``recorded`` and ``patch_colours`` gave."""
    rows = attention_of(block).rows
    return {
        "features": quantised(seen["features"], bits),
        "keys": quantised(seen["keys"], bits) if "keys" in seen else None,
        "queries": quantised(seen["queries"], bits) if "queries" in seen else None,
        "softmax": rows is None or rows.softmax,
        "membership": shares(seen["membership"], bits) if "membership" in seen else None,
        "colours": encoded(colours),
        "atoms": {"index": encoded(seen["index"]), "strength": quantised(seen["strength"][None], bits)}
        if "index" in seen
        else None,
    }


def _strongest(code: Float[np.ndarray, "tokens atoms"]) -> dict[str, np.ndarray]:
    kept = min(STRONGEST, code.shape[1])
    index = np.argpartition(-code, kept - 1, axis=1)[:, :kept]
    strength = np.take_along_axis(code, index, axis=1)
    order = np.argsort(-strength, axis=1, kind="stable")
    index, strength = (np.take_along_axis(values, order, axis=1) for values in (index, strength))
    spare = STRONGEST - kept
    index, strength = (np.pad(values, ((0, 0), (0, spare))) for values in (index, strength))
    return {"index": index.astype(np.uint16), "strength": strength.clip(min=0)}
