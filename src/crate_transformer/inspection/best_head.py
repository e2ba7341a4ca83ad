"""The head that a checkpoint names as the one that tells objects from their ground."""

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
    """What is stored with the weights under ``attention``; ``None`` where nothing is.

    Raises:
        ValueError: it is stored, but not as layer, head and the words how they were chosen, or the model has no such
            layer or head.
    """
    provenance = getattr(model, "provenance", None)  # which a model that was just made has not
    stored = provenance and provenance.metadata.get("attention")
    if stored is None:
        return None
    where = f"the entry 'attention' in the metadata of {provenance.source}"
    best = as_record(stored, BestHead, where)
    depth, num_heads = len(model.blocks), model.config.num_heads
    if not (0 <= best.layer < depth and 0 <= best.head < num_heads):
        raise ValueError(
            f"{where} names layer {best.layer}, head {best.head}: the model has layers 0 to {depth - 1} and heads 0 to "
            f"{num_heads - 1}"
        )
    return best
