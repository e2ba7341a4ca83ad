"""The head stored in a checkpoint that separates objects from the background best."""

from dataclasses import dataclass

from crate_transformer.models import Backbone
from crate_transformer.storage import as_record


@dataclass(frozen=True)
class BestHead:
    """Zero-based layer and head, and how they were chosen."""

    layer: int
    head: int
    chosen: str


def best_head(model: Backbone) -> BestHead | None:
    """The head stored with the weights under ``attention``, or ``None``.

    Raises:
        ValueError: the entry does not consist of layer, head and how they were chosen, or the model has no such layer
            or head.
    """
    provenance = getattr(model, "provenance", None)  # a new model has none
    if provenance is None or provenance.metadata.get("attention") is None:
        return None
    where = f"the entry 'attention' in the metadata of {provenance.source}"
    best = as_record(provenance.metadata["attention"], BestHead, where)
    depth, num_heads = len(model.blocks), model.config.num_heads
    if not (0 <= best.layer < depth and 0 <= best.head < num_heads):
        raise ValueError(
            f"{where} is layer {best.layer}, head {best.head}, but the model has layers 0 to {depth - 1} and heads 0 "
            f"to {num_heads - 1}"
        )
    return best
