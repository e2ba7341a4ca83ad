"""``crate recipes`` and ``crate train --recipe NAME --debug``."""

import json
import re

import pytest
import tyro

from crate_transformer.cli.train import command
from crate_transformer.recipes.registry import RECIPES


def test_all_recipes_are_listed(crate, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    ran = crate("recipes")
    assert ran.code == 0 and all(name in ran.out for name in RECIPES)
    for told in ("66.7% published", "62.5% measured", "CIFAR-10 79.4% published", "192.2 M", "91 epochs"):
        assert told in ran.out
    listed = json.loads(crate("recipes", "crate_alpha*", "--json").out)
    assert len(listed) == 12 and all(entry["name"].startswith("crate_alpha") for entry in listed)
    assert {entry["expected"][0]["kind"] for entry in listed if entry["expected"]} == {"published"}


def test_80_columns_break_no_word(crate, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = crate("recipes").out.split()
    assert {"Tiny-ImageNet-100", "published", "measured", "1,277.7"} <= set(words) and "d" not in words


def test_one_recipe_is_shown_whole(crate):
    ran = crate("recipes", "crate_base_pets")
    assert ran.code == 0
    for told in (
        "crate train --recipe crate_base_pets --data pets --output runs/crate_base_pets",
        "crate train --recipe crate_base_imagenet1k --data imagenet1k",
        "published                top-1 85.3%: arXiv 2306.01129, table 1",
        "22,055,461",
        "augment.randaugment                      2",
    ):
        assert told in ran.out
    found = json.loads(crate("recipes", "cifar10", "--json").out)
    assert found["parameters"] == 315_370 and found["settings"]["schedule.epochs"] == 4.0
    assert re.fullmatch(r"3\.\de\+13 floating-point operations", found["arithmetic"])


@pytest.mark.usefixtures("unchecked")  # tyro's placeholder is no path
def test_every_recipe_is_a_command():
    for name, recipe in RECIPES.items():
        settings, experiment = command(["--recipe", name])[1], recipe.experiment
        assert (settings.model, settings.objective) == (experiment.model, experiment.task), name
        assert all(getattr(settings, option) == value for option, value in experiment.options.items()), name


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("cifar10", ["--warmup-epochs", "2"], {"warmup_steps": None, "epochs": 4.0}),
        ("cifar10", ["--warmup_epochs=2"], {"warmup_steps": None, "epochs": 4.0}),
        ("crate_base_imagenet1k", ["--warmup-steps", "7"], {"warmup_epochs": None, "epochs": 150.0}),
        ("simdino_tiny_imagenet_100", ["--epochs", "2"], {"steps": None, "warmup_steps": 150}),
        ("digits_segmentation", ["--samples", "64"], {"steps": None, "warmup_steps": 20}),
        ("cifar10", ["--steps", "9"], {"epochs": None, "warmup_steps": 100}),
    ],
)
def test_options_replace_what_a_recipe_says_in_another_unit(name, options, expected):
    kind, default = command(["--recipe", name, *options])
    arguments = ["--recipe", name, "--data", "x", *options]
    schedule = tyro.cli(kind, args=arguments, default=default, config=(tyro.conf.OmitArgPrefixes,)).schedule
    assert {key: getattr(schedule, key) for key in expected} == expected
    option = options[0].partition("=")[0].removeprefix("--").replace("-", "_")
    assert getattr(schedule, option) == float(options[-1].rpartition("=")[2])


def test_a_recipe_that_is_not_there(refused):
    assert refused("recipes", "crate_tiny_pet").startswith("there is no recipe 'crate_tiny_pet': did you mean")


@pytest.mark.usefixtures("unchecked")  # tyro's placeholder is no path
@pytest.mark.parametrize("name", ["tost_small_imagenet1k", "crate_alpha_base_patch16_imagenet1k"])
def test_a_recipe_is_tried_in_seconds(crate, pets, tmp_path, name):
    ran = crate("train", "--recipe", name, "--debug", "--data", pets, "--output", tmp_path / "run")
    assert ran.code == 0, ran.err
    experiment = json.loads((tmp_path / "run" / "config.json").read_text())["metadata"]["experiment"]
    assert experiment["model"] == RECIPES[name].experiment.model and experiment["schedule"]["steps"] == 2
    assert experiment["augment"]["cutmix"] == 1.0


@pytest.mark.usefixtures("unchecked")
def test_a_debug_run_takes_valid_settings(crate, pets, tmp_path):
    options = ("--accumulate", "4", "--repeats", "4", "--mixup", "0.8", "--batch-size", "64", "--patch-size", "8")
    ran = crate("train", "--debug", "--data", pets, "--output", tmp_path / "run", *options)
    assert ran.code == 0, ran.err


def test_a_run_is_measured_without_being_made(crate, pets, tmp_path, small):
    ran = crate("train", "--data", pets, "--output", tmp_path / "run", "--dry-run", "--steps", "3", *small)
    assert ran.code == 0 and not (tmp_path / "run").exists()
    assert "3 steps of 4 images" in ran.out and "floating-point operations in total" in ran.out
