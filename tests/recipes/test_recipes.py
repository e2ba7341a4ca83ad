"""Every recipe is alive: it builds, its model is as large as promised, and two steps of it run."""

import dataclasses
import re

import pytest

from crate_transformer.data import Split
from crate_transformer.recipes.quickstart import QuickstartConfig, crate_digits, vit_digits
from crate_transformer.recipes.registry import RECIPES, recipe
from crate_transformer.recipes.run import fit

EVERY = {
    **RECIPES,
    "crate_digits": lambda: crate_digits(QuickstartConfig()),
    "vit_digits": lambda: vit_digits(QuickstartConfig()),
}
COUNTS = {"cifar10": 315_370, "cifar10_vit": 308_042, "crate_digits": 315_370, "vit_digits": 308_042}


@pytest.mark.parametrize("name", sorted(EVERY))
def test_two_steps(name, tiny_images, tmp_path):
    experiment = EVERY[name]()
    schedule = dataclasses.replace(experiment.schedule, epochs=None, steps=2, batch_size=6)
    if experiment.start_from:  # what an earlier stage left; here, what all stages left
        experiment = dataclasses.replace(experiment, start_from="crate_mini_patch8_64.tiny_imagenet_100")
    side = 64 if "imagenet" in name else 32
    done = fit(
        dataclasses.replace(experiment, schedule=schedule),
        Split(tiny_images(side), tiny_images(side, count=9, seed=1), "noise", divided_here=False),
        tmp_path,
        data_name="noise",
        show=False,
    )
    assert done.metrics["steps"] == 2 and done.metrics["count"] == 9
    assert done.model.class_names == ("a", "b", "c")
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
    }
    if name in COUNTS:
        width = done.model.embed_dim
        assert done.metrics["parameters"] == COUNTS[name] - 7 * (width + 1)  # three classes instead of ten


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_names_its_command(name):
    assert re.search(rf"--recipe {name}\b", RECIPES[name].__doc__)


def test_pairs_that_are_compared_are_trained_alike():
    config = QuickstartConfig(steps=7, seed=3)
    for ours, vit in ((recipe("cifar10"), recipe("cifar10_vit")), (crate_digits(config), vit_digits(config))):
        assert dataclasses.replace(ours, model=vit.model) == vit
    assert (crate_digits(config).schedule.steps, crate_digits(config).loop.seed) == (7, 3)


def test_an_unknown_recipe():
    with pytest.raises(ValueError, match="there is no recipe 'cifar100': choose one of cifar10, cifar10_vit, tiny_im"):
        recipe("cifar100")
