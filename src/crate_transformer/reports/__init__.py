"""Figures, tables and one self-contained HTML page, drawn from saved results; nothing here runs a model.

Everything below is imported when first used, so that help texts do not wait for matplotlib.
"""

import importlib

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

__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
