"""Figures, tables and one self-contained HTML page, drawn from saved results; nothing here runs a model.

Everything below is imported when first used, so that help texts do not wait for matplotlib.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crate_transformer.reports.attention import attention_figure, mask_figure
    from crate_transformer.reports.confusion import confusion_figure
    from crate_transformer.reports.curves import training_figure
    from crate_transformer.reports.heads import heads_figure, layers_figure
    from crate_transformer.reports.layerwise import layerwise_figure, steps_figure
    from crate_transformer.reports.maskcut import maskcut_figure
    from crate_transformer.reports.page import Section, write_page
    from crate_transformer.reports.pca import pca_figure
    from crate_transformer.reports.reconstruction import reconstruction_figure
    from crate_transformer.reports.reliability import reliability_figure
    from crate_transformer.reports.samples import samples_figure
    from crate_transformer.reports.scores import layer_scores_figure, scores_figure
    from crate_transformer.reports.style import save_figure
    from crate_transformer.reports.subspaces import gram_figure, subspaces_figure
    from crate_transformer.reports.table import Table, print_table

_HOMES = {
    "Section": "page",
    "Table": "table",
    "attention_figure": "attention",
    "confusion_figure": "confusion",
    "heads_figure": "heads",
    "gram_figure": "subspaces",
    "layer_scores_figure": "scores",
    "layers_figure": "heads",
    "layerwise_figure": "layerwise",
    "mask_figure": "attention",
    "maskcut_figure": "maskcut",
    "pca_figure": "pca",
    "print_table": "table",
    "reconstruction_figure": "reconstruction",
    "reliability_figure": "reliability",
    "samples_figure": "samples",
    "save_figure": "style",
    "scores_figure": "scores",
    "subspaces_figure": "subspaces",
    "steps_figure": "layerwise",
    "training_figure": "curves",
    "write_page": "page",
}

__all__ = [
    "Section",
    "Table",
    "attention_figure",
    "confusion_figure",
    "gram_figure",
    "heads_figure",
    "layer_scores_figure",
    "layers_figure",
    "layerwise_figure",
    "mask_figure",
    "maskcut_figure",
    "pca_figure",
    "print_table",
    "reconstruction_figure",
    "reliability_figure",
    "samples_figure",
    "save_figure",
    "scores_figure",
    "steps_figure",
    "subspaces_figure",
    "training_figure",
    "write_page",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
