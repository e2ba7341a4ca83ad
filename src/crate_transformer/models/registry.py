"""The only list of models: name -> (model class, configuration)."""

import dataclasses
import difflib
import fnmatch
import re

from crate_transformer.models import crate, vit
from crate_transformer.models.backbone import Backbone
from crate_transformer.models.config import BackboneConfig
from crate_transformer.models.crate import CRATE
from crate_transformer.models.vit import ViT

MODELS: dict[str, tuple[type[Backbone], BackboneConfig]] = {
    **{name: (CRATE, config) for name, config in crate.SIZES.items()},
    **{name: (ViT, config) for name, config in vit.SIZES.items()},
}
_PAPER_LETTERS = {"t": "tiny", "s": "small", "b": "base", "l": "large", "h": "huge"}


def list_models(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern, sorted."""
    return sorted(fnmatch.filter(MODELS, pattern))


def canonical_name(name: str) -> str:
    """The registered name for ``name`` or a paper's alias (``CRATE_tiny``, ``CRATE-S``, ``CRATE-B/8``).

    Raises:
        ValueError: no such model; the message names the nearest ones.
    """
    if name in MODELS:
        return name
    alias = re.fullmatch(r"(crate|vit)[-_](tiny|small|base|large|[tsbl])(?:/(\d+))?", name.lower())
    if alias:
        family, size, patch = alias.groups()
        full = f"{family}_{_PAPER_LETTERS.get(size, size)}_patch{patch or 16}_224"
        if full in MODELS:
            return full
    near = difflib.get_close_matches(name, MODELS, n=3, cutoff=0.4) or list_models()
    raise ValueError(f"no model is called {name!r}; did you mean {', '.join(near)}?")


def build_model(name: str, **config: object) -> Backbone:
    """A freshly initialised model; keyword arguments replace fields of its configuration."""
    model_class, default = MODELS[canonical_name(name)]
    known = {field.name for field in dataclasses.fields(default)}
    for key in config:
        if key not in known:
            raise ValueError(f"{name} has no option {key!r}; it has {', '.join(sorted(known))}")
    return model_class(dataclasses.replace(default, **config))
