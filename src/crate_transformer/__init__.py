"""White-box vision transformers: train CRATE, load its published checkpoints, and look inside.

Everything below is imported when first used, so that ``crate --help`` does not wait for PyTorch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crate_transformer import (
        checkpoints,
        data,
        evaluation,
        inspection,
        layers,
        models,
        objective,
        reports,
        training,
    )
    from crate_transformer.checkpoints import create_model, load_checkpoint, save_checkpoint
    from crate_transformer.explorer import explore
    from crate_transformer.inspection import intervene, record
    from crate_transformer.models import list_models

_HOMES = {
    "create_model": "checkpoints",
    "list_models": "models",
    "load_checkpoint": "checkpoints",
    "save_checkpoint": "checkpoints",
    "record": "inspection",
    "intervene": "inspection",
    "explore": "explorer",
}
_MODULES = ("checkpoints", "data", "evaluation", "inspection", "layers", "models", "objective", "reports", "training")

__version__ = "0.1.0"
__all__ = [
    "checkpoints",
    "create_model",
    "data",
    "evaluation",
    "explore",
    "inspection",
    "intervene",
    "layers",
    "list_models",
    "load_checkpoint",
    "models",
    "objective",
    "record",
    "reports",
    "save_checkpoint",
    "training",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
