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
        ValueError: it is stored, but not as layer, head and the words how they were chosen.
    """
    stored = model.provenance.metadata.get("attention")
    if stored is None:
        return None
    return as_record(stored, BestHead, f"the entry 'attention' in the metadata of {model.provenance.source}")
