"""The recipes for ``crate train --recipe`` and ``crate recipes``."""

import difflib

from crate_transformer.recipes import (
    cifar10,
    crate,
    crate_alpha,
    crate_mae,
    language,
    segmentation,
    self_supervised,
    tiny_imagenet,
    tost,
    transfer,
)
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.recipe import Recipe, result_of

_FAMILIES = (
    cifar10, tiny_imagenet, self_supervised, segmentation, crate, transfer, crate_mae, crate_alpha, tost, language
)  # fmt: skip
RECIPES: dict[str, Recipe] = {name: recipe for family in _FAMILIES for name, recipe in family.RECIPES.items()}
"""Name -> recipe of every experiment."""


def recipe(name: str) -> Experiment:
    """The experiment of this name.

    Raises:
        ValueError: there is no such recipe; the message names similar ones.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise ValueError(f"there is no recipe {name!r}: {hint}'crate recipes' lists all recipes")
    return RECIPES[name].experiment


def command(name: str) -> str:
    """The shell command of a recipe, with an example data folder."""
    return f"crate train --recipe {name} --data {RECIPES[name].data.folder} --output {result_of(name)}"
