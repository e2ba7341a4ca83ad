"""Deprecated names, kept for one version."""

import importlib
import warnings
from collections.abc import Callable, Mapping


def old_names(module: str, renamed: Mapping[str, str]) -> Callable[[str], object]:
    """A ``__getattr__`` for a module that finds objects by their old names, with a ``DeprecationWarning``."""

    def find(name: str) -> object:
        if name not in renamed:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new = renamed[name]
        warnings.warn(f"{module}.{name} is now called {new}", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(module), new)

    return find
