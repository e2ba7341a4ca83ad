"""The experiments that ``crate train --recipe`` knows."""

from collections.abc import Callable

from crate_transformer.recipes.cifar10 import cifar10, cifar10_vit
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.tiny_imagenet import tiny_imagenet_100, tiny_imagenet_100_128

RECIPES: dict[str, Callable[[], Experiment]] = {
    recipe.__name__: recipe for recipe in (cifar10, cifar10_vit, tiny_imagenet_100, tiny_imagenet_100_128)
}


def recipe(name: str) -> Experiment:
    """The experiment of this name.

    Raises:
        ValueError: there is none; the message lists those that are there.
    """
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}: choose one of {', '.join(RECIPES)}")
    return RECIPES[name]()
