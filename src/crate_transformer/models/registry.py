"""The only list of models: name -> (model class, configuration)."""

import dataclasses
import difflib
import fnmatch
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from crate_transformer.models import (
    aot,
    cbt,
    crate,
    crate_alpha,
    crate_hybrid,
    crate_mae,
    hyper_set,
    recurrent_crate,
    tost,
    vit,
)
from crate_transformer.models.aot import AoT
from crate_transformer.models.backbone import Backbone
from crate_transformer.models.cbt import CBT
from crate_transformer.models.config import BackboneConfig
from crate_transformer.models.crate import CRATE
from crate_transformer.models.crate_alpha import CRATEAlpha
from crate_transformer.models.crate_hybrid import CRATEHybrid
from crate_transformer.models.crate_mae import CRATEMAE
from crate_transformer.models.hyper_set import HyperSET
from crate_transformer.models.language import (
    CausalCRATE,
    CausalToST,
    LanguageConfig,
    LanguageModel,
    causal_crate,
    causal_tost,
)
from crate_transformer.models.recurrent_crate import RecurrentCRATE
from crate_transformer.models.tost import ToST
from crate_transformer.models.vit import ViT

_FAMILIES: dict[type[Backbone], Mapping[str, BackboneConfig]] = {
    CRATE: crate.SIZES,
    ViT: vit.SIZES,
    CRATEAlpha: crate_alpha.SIZES,
    CRATEMAE: crate_mae.SIZES,
    ToST: tost.SIZES,
    AoT: aot.SIZES,
    CBT: cbt.SIZES,
    HyperSET: hyper_set.SIZES,
    RecurrentCRATE: recurrent_crate.SIZES,
    CRATEHybrid: crate_hybrid.SIZES,
}
MODELS: dict[str, tuple[type[Backbone], BackboneConfig]] = {
    name: (model_class, config) for model_class, sizes in _FAMILIES.items() for name, config in sizes.items()
}
"""Name -> class and configuration of every vision model."""
LANGUAGE_MODELS: dict[str, tuple[type[LanguageModel], LanguageConfig]] = {
    **{name: (CausalToST, config) for name, config in causal_tost.SIZES.items()},
    **{name: (CausalCRATE, config) for name, config in causal_crate.SIZES.items()},
}
"""The same for language models."""
_Config = TypeVar("_Config", bound=BackboneConfig | LanguageConfig)
_PAPER_LETTERS = {"t": "tiny", "ti": "tiny", "s": "small", "m": "medium", "b": "base", "l": "large", "h": "huge"}


def new_backbone(config: BackboneConfig) -> Backbone:
    """A freshly initialised vision model of the family with this kind of configuration.

    Raises:
        ValueError: there is no such family.
    """
    for model_class, known in MODELS.values():
        if type(known) is type(config):
            return model_class(config)  # pyright: ignore[reportCallIssue] -- a family needs no more
    raise ValueError(
        f"no family has the configuration {type(config).__name__}: give the configuration of a listed model"
    )


def list_models(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern, sorted."""
    return sorted(fnmatch.filter(MODELS, pattern))


def canonical_name(name: str) -> str:
    """The registered name for ``name`` or a paper's alias (``CRATE_tiny``, ``CRATE-B/8``, ``CRATE-alpha-L/14``).

    Raises:
        ValueError: there is no such model; the message names similar ones.
    """
    if name in MODELS:
        return name
    sizes = "tiny|small|medium|base|large|huge|ti|[tsmblh]"
    alias = re.fullmatch(
        rf"(crate|crate[-_]?(?:alpha|mae)|cbt|tost|vit)[-_]({sizes})(?:/?(\d+))?",
        name.lower().replace("\N{GREEK SMALL LETTER ALPHA}", "alpha"),
    )
    if alias:
        family, size, patch = alias.groups()
        family = re.sub(r"crate[-_]?(?=.)", "crate_", family)
        full = f"{family}_{_PAPER_LETTERS.get(size, size)}_patch{patch or 16}_224"
        if full in MODELS:
            return full
    near = difflib.get_close_matches(name, MODELS, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"choose one of {', '.join(list_models())}"
    raise ValueError(f"there is no model {name!r}; {hint}")


def build_model(name: str, **config: Any) -> Backbone:
    """A freshly initialised model; keyword arguments replace fields of its configuration."""
    return new_backbone(_changed(name, MODELS[canonical_name(name)][1], config))


def build_language_model(name: str, **config: Any) -> LanguageModel:
    """A freshly initialised language model; keyword arguments replace fields of its configuration."""
    if name not in LANGUAGE_MODELS:
        raise ValueError(f"there is no language model {name!r}; choose one of {', '.join(sorted(LANGUAGE_MODELS))}")
    model_class, default = LANGUAGE_MODELS[name]
    return model_class(_changed(name, default, config))  # pyright: ignore[reportCallIssue] -- a family needs no more


def _changed(name: str, default: _Config, changes: dict[str, Any]) -> _Config:
    known = {field.name for field in dataclasses.fields(default)}
    for key in changes:
        if key not in known:
            raise ValueError(f"{name} has no option {key!r}; its options are {', '.join(sorted(known))}")
    return dataclasses.replace(default, **changes)
