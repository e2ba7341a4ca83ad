"""``crate recipes``."""

import dataclasses
import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from crate_transformer.cli.terminal import print_json, say

if TYPE_CHECKING:
    from crate_transformer.recipes.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Command:
    """List the experiments for 'crate train --recipe', with their cost and expected results.

    'published' results are from a paper and were not reproduced here; 'measured' results are our own.
    """

    name: Annotated[str, tyro.conf.Positional] = "*"
    """Name of a recipe, to show all its settings, or a shell pattern such as 'crate_alpha*'."""
    json: bool = False
    """Print JSON instead of a table."""

    def __call__(self) -> None:
        from crate_transformer.recipes.registry import RECIPES, recipe

        if self.name in RECIPES:
            self._details(RECIPES[self.name])
            return
        names = fnmatch.filter(RECIPES, self.name)
        if not names:
            recipe(self.name)  # which says so
        if self.json:
            print_json([_facts(name, RECIPES[name]) for name in names])
            return
        from rich.table import Table

        from crate_transformer.reports.table import print_rich

        table = Table(box=None, padding=(0, 1, 0, 0))
        for heading in ("name", "data", "images seen", "result"):
            justify = "right" if "seen" in heading else "left"
            table.add_column(
                heading, no_wrap=heading in ("name", "data"), min_width=9, overflow="fold", justify=justify
            )
        for name in names:
            one = RECIPES[name]
            table.add_row(name, one.data.name, _images(one), _result(one))
        print_rich(table)
        say("", "'crate recipes NAME' shows the model, cost, settings and command of one recipe.")

    def _details(self, recipe: "Recipe") -> None:
        facts = _facts(self.name, recipe) | _size(recipe)
        settings = dict(_flat(dataclasses.asdict(recipe.experiment)))
        if self.json:
            print_json(facts | {"settings": settings})
            return
        say(self.name, "")
        for name, value in facts.items():
            if name not in ("name", "expected", "notes") and value not in (None, ""):
                say(f"{name.replace('_', ' '):<24} {_count(value)}")
        for expected in recipe.expected:
            say(f"{expected.kind:<24} {expected.measure} {expected.value}{expected.unit}: {expected.source}")
        for note in recipe.notes:
            say(f"{'note':<24} {note}")
        say("", *(f"{name:<40} {value}" for name, value in settings.items()))


def _facts(name: str, recipe: "Recipe") -> dict[str, object]:
    from crate_transformer.recipes.registry import command

    experiment = recipe.experiment
    return {
        "name": name,
        "command": command(name),
        "after": recipe.after and command(recipe.after),
        "model": experiment.model,
        "data": recipe.data.name,
        "training_images": recipe.data.samples,
        "images_seen": recipe.samples_seen,
        "passes": experiment.schedule.epochs,
        "cost": recipe.cost,
        "expected": [dataclasses.asdict(expected) for expected in recipe.expected],
        "notes": list(recipe.notes),
    }


def _size(recipe: "Recipe") -> dict[str, object]:
    """Parameters with the number of classes of the data, and the operations of the whole training."""
    import torch

    from crate_transformer.cli.arithmetic import training_flops
    from crate_transformer.models import build_language_model, build_model

    experiment = recipe.experiment
    with torch.device("meta"):
        if not recipe.data.classes:
            model = build_language_model(experiment.model, **experiment.task.model_options(0), **experiment.options)
        else:
            model = build_model(experiment.model, **experiment.options)
            if model.num_classes:
                model.reset_classifier(recipe.data.classes)
    found: dict[str, object] = {"parameters": sum(p.numel() for p in model.parameters())}
    if recipe.samples_seen and (flops := training_flops(experiment, recipe.samples_seen)):
        found["arithmetic"] = f"{flops:.1e} floating-point operations"
    return found


def _images(recipe: "Recipe") -> str:
    """Number of images or text windows seen in training, if the size of the data is known."""
    seen = recipe.samples_seen
    passes = recipe.experiment.schedule.epochs
    if seen is None:
        return "" if passes is None else f"{passes:g} epochs"
    words = "" if recipe.data.classes else " texts"
    return (f"{seen / 1e6:,.1f} M" if seen >= 1e6 else f"{seen:,}") + words


def _result(recipe: "Recipe") -> str:
    """The first expected result and its kind; top-1 is not named."""
    if not recipe.expected:
        return ""
    first = recipe.expected[0]
    measure = "" if first.measure == "top-1" else f"{first.measure} "
    return f"{measure}{first.value}{first.unit} {first.kind}"


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)


def _flat(settings: dict[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
