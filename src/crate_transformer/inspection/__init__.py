"""Questions asked of a frozen model; the answers are frozen dataclasses of arrays, with their controls."""

from crate_transformer.inspection.attention import AttentionMaps, attention_maps
from crate_transformer.inspection.controls import untrained_twin
from crate_transformer.inspection.foreground import threshold_entries, threshold_mass
from crate_transformer.inspection.frozen import batches, frozen, to_model
from crate_transformer.inspection.heads import HeadSummary, head_summary
from crate_transformer.inspection.layerwise import LayerwiseObjective, layerwise_objective
from crate_transformer.inspection.look import Look, class_names, look
from crate_transformer.inspection.record import record

__all__ = [
    "AttentionMaps",
    "HeadSummary",
    "Look",
    "LayerwiseObjective",
    "attention_maps",
    "batches",
    "class_names",
    "frozen",
    "head_summary",
    "layerwise_objective",
    "look",
    "record",
    "threshold_entries",
    "threshold_mass",
    "to_model",
    "untrained_twin",
]
