"""Recipes: experiments with their data, cost and expected results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from crate_transformer.recipes.experiment import Experiment


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The data of a recipe: name, number of classes (0 for text), training samples if stated in a paper, folder."""

    name: str
    classes: int
    samples: int | None
    folder: str


IMAGENET_1K = DataSet(name="ImageNet-1k", classes=1000, samples=1_281_167, folder="imagenet1k")
IMAGENET_21K = DataSet(name="ImageNet-21k", classes=21_841, samples=14_197_122, folder="imagenet21k")
IMAGENET_21K_WINTER = DataSet(name="ImageNet-21k winter", classes=19_167, samples=None, folder="imagenet21k-winter")
CIFAR10 = DataSet(name="CIFAR-10", classes=10, samples=50_000, folder="cifar10")
CIFAR100 = DataSet(name="CIFAR-100", classes=100, samples=50_000, folder="cifar100")
FLOWERS = DataSet(name="Flowers-102", classes=102, samples=1_020, folder="flowers102")
PETS = DataSet(name="Pets", classes=37, samples=3_680, folder="pets")
TINY_IMAGENET_100 = DataSet(name="Tiny-ImageNet-100", classes=100, samples=50_000, folder="tiny_imagenet_100")


@dataclass(frozen=True, kw_only=True)
class Expected:
    """An expected result of a recipe; ``published``: from a paper and not reproduced here."""

    value: float
    measure: str
    kind: Literal["published", "measured"]
    source: str
    unit: str = "%"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An experiment with its data, cost, expected results and notes.

    Args:
        cost: time and hardware with their source; empty if unknown.
        after: the recipe whose result it starts from.
        notes: differences from the paper, and settings that the paper does not state.
    """

    experiment: Experiment
    data: DataSet
    expected: tuple[Expected, ...] = ()
    cost: str = ""
    after: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def samples_seen(self) -> int | None:
        """Number of images or texts seen in training, if the size of the data is known."""
        schedule = self.experiment.schedule
        if schedule.samples is not None:
            return schedule.samples
        if schedule.steps is not None and schedule.batch_size is not None:
            return schedule.steps * schedule.batch_size
        if self.data.samples is None or schedule.epochs is None:
            return None
        return round(schedule.epochs * self.data.samples)


def published(source: str, percent: Mapping[str, float]) -> tuple[Expected, ...]:
    """Results of a paper: ``published("arXiv ..., table 1", {"top-1": 66.7})``."""
    return tuple(Expected(value=percent[name], measure=name, kind="published", source=source) for name in percent)


def measured(source: str, percent: Mapping[str, float]) -> tuple[Expected, ...]:
    """Our own results; the source says where, on what hardware and when."""
    return tuple(Expected(value=percent[name], measure=name, kind="measured", source=source) for name in percent)


def result_of(name: str) -> str:
    """The output folder of this recipe in the documented command."""
    return f"runs/{name}"
