"""Train every family at equal parameters and at equal training time, and measure each in the same way.

python benchmarks/comparison.py ../shared/data runs/comparison
python benchmarks/comparison_page.py runs/comparison docs/comparison.md

The first size of every family in the registry is taken, with the depth, heads, image and patch size below and the
width that gives the number of parameters closest to ``--parameters``. All learn Tiny-ImageNet-100 by one recipe: that
of ``tiny_imagenet_100`` with ``--steps`` steps. The runs "time" have as many steps as CRATE makes in the
same processor time: ``times.json`` has that of a forward and backward pass of every model, medians of interleaved
repeats in one process, since the time of a run depends on what runs beside it. Of every run one JSON file is written;
a run whose file exists is not repeated, and one that was interrupted goes on. Emergence is measured on all sets with
masks below DATA, as by ``crate evaluate --segmentation DATA --size 128 --maskcut-size 0``.
"""

import argparse
import bisect
import contextlib
import dataclasses
import functools
import logging
import platform
import statistics
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from crate_transformer.benchmarks.flops import count_flops
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.schedule import ScheduleConfig
from crate_transformer.data import Split, find_segmentation, open_segmentation, open_split, preprocess
from crate_transformer.evaluation import emergence
from crate_transformer.inspection import LayerSteps, energy_steps, has_energies, layer_steps
from crate_transformer.layers import ISTA
from crate_transformer.models import MODELS, Backbone, build_model, canonical_name
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.registry import recipe
from crate_transformer.recipes.run import Fit, fit
from crate_transformer.storage import json_bytes, plain, read_json, write_file

IMG_SIZE, PATCH_SIZE, DEPTH, HEADS = 64, 8, 6, 4
WIDTHS = range(16, 4096, 8)
REFERENCE = "crate_tiny_patch16_224"
"""The model whose processor time the runs with equal time have."""
BOUNDED = "crate_bounded"
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "crate_negative": ("crate_tied_mini_patch8_64", {"output": "negative"}),
    "crate_transposed": ("crate_tied_mini_patch8_64", {"output": "transposed"}),
    "crate_identity": ("crate_tied_mini_patch8_64", {"output": "identity"}),
    BOUNDED: (REFERENCE, {}),
}
"""Further models for ``--models``: the registered one and its options. ``crate_bounded`` has ||D||^2 <= 1 / eta."""
SAME_TIME = 0.05
"""Up to this relative difference in steps, the run with equal parameters also counts as that with equal time."""
SIDE = 128
"""Pixels of the squares on which attention is measured."""
REPEATS = 5
"""Times that a forward and backward pass of every model is timed, after one that is not."""
STEP_IMAGES = 64
"""Held-out images on which the steps of the layers are measured."""


def families() -> list[str]:
    """The first size of every family; a masked autoencoder is left out, since as a classifier it is its encoder."""
    first: dict[type[Backbone], str] = {}
    for name, (kind, _) in MODELS.items():
        first.setdefault(kind, name)
    return [name for kind, name in first.items() if not kind.not_in_logits]


def options(name: str, width: int) -> tuple[str, dict[str, object]]:
    """The registered model, and the changes to its configuration; blocks that share weights are the same fraction of
    the depth."""
    registered, more = VARIANTS.get(name, (name, {}))
    config = MODELS[registered][1]
    sizes = {"img_size": IMG_SIZE, "patch_size": PATCH_SIZE, "depth": DEPTH, "num_heads": HEADS, "embed_dim": width}
    if (shared := config.recurrences) > 1:
        sizes["recurrences"] = max(1, DEPTH * shared // config.depth)
    return registered, sizes | more


def build(name: str, classes: int, width: int) -> Backbone:
    """A new model of this width."""
    registered, changes = options(name, width)
    return build_model(registered, **changes, num_classes=classes)


@torch.no_grad()
def bound(module: nn.Module, *_: object) -> None:
    """Scale a dictionary down to ||D||^2 = 1 / eta if it is above."""
    if isinstance(module, ISTA):
        module.dictionary.div_(max(1.0, float(torch.linalg.matrix_norm(module.dictionary, 2)) * module.step_size**0.5))


@contextlib.contextmanager
def bounded_dictionaries(bounded: bool) -> Iterator[None]:
    """If so, every dictionary is scaled before each forward pass so that the proximal step's guarantee holds."""
    hook = nn.modules.module.register_module_forward_pre_hook(bound) if bounded else None
    try:
        yield
    finally:
        if hook:
            hook.remove()


def parameters_of(name: str, classes: int, width: int) -> int:
    """Number of parameters of a model of this width."""
    with torch.device("meta"):
        model = build(name, classes, width)
    return sum(parameter.numel() for parameter in model.parameters())


def matched_width(name: str, parameters: int, classes: int) -> int:
    """The width whose number of parameters is closest."""
    count = functools.partial(parameters_of, name, classes)
    above = bisect.bisect_left(WIDTHS, parameters, key=count)
    return min(WIDTHS[max(0, above - 1) : above + 1], key=lambda width: abs(count(width) - parameters))


def masks(model: Backbone, sets: dict[str, Path], limit: int | None) -> dict[str, object]:
    """Every measure of the attention on every set beside all controls, or the reason why there are none."""
    found: dict[str, object] = {}
    for name, folder in sets.items():
        try:
            measures = emergence(model, open_segmentation(folder).first(limit), size=SIDE, maskcut_size=0).measures
        except ValueError as error:
            found[name] = {"refused": str(error)}
        else:
            found[name] = {key: measure.to_dict() for key, measure in measures.items()}
    return found


def layers(model: Backbone, split: Split) -> dict[str, object]:
    """How often each step of every layer lowers what it was derived from: of images, for the sparse step of tokens."""
    images = torch.stack([preprocess(split.val.read(i), model.preprocessing) for i in spread(len(split.val))])
    found: LayerSteps = layer_steps(model, images)
    result: dict[str, object] = {"derived": found.derived, "energies": None}
    if has_energies(model):
        energies = energy_steps(model, images)
        lowered = {"attention": energies.attention_lowered, "feed_forward": energies.feed_forward_lowered}
        result["energies"] = lowered
    for name in ("trained", "untrained"):
        steps = getattr(found, name)
        sparse = steps.sparse and {key: getattr(steps.sparse, key).mean(axis=0) for key in ("lowered", "bounded")}
        result[name] = {"compressing": None if steps.unchanged else steps.compressing, "sparse": sparse}
    return result


def spread(count: int) -> list[int]:
    """Numbers of images, evenly over all."""
    return [i * count // STEP_IMAGES for i in range(STEP_IMAGES)] if count > STEP_IMAGES else list(range(count))


def processor_seconds(name: str, width: int, classes: int, batch_size: int, *, bf16: bool) -> float:
    """Processor time of one forward and backward pass of a model, all threads together."""
    model = build(name, classes, width)
    images, labels = torch.randn(batch_size, 3, IMG_SIZE, IMG_SIZE), torch.randint(classes, (batch_size,))
    started = time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = functional.cross_entropy(model(images).float(), labels)
    loss.backward()
    return time.process_time() - started


class Comparison:
    """The runs in a folder, and what they are made of."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.given, self.folder = arguments, arguments.output
        self.names = [name if name in VARIANTS else canonical_name(name) for name in arguments.models] or families()
        self.split = open_split(arguments.data / "tiny_imagenet_100")
        self.classes = len(self.split.train.classes)
        self.sets = find_segmentation(arguments.data)

    def file(self, name: str, budget: str, seed: int) -> Path:
        """The results of a run."""
        return self.folder / f"{name}-{budget}-seed{seed}.json"

    def measure_times(self) -> None:
        """Write ``times.json``, or add the models that it lacks, timed beside one it has and scaled to its time."""
        file = self.folder / "times.json"
        known: dict[str, float] = read_json(file)["seconds"] if file.exists() else {}
        if not (missing := [name for name in dict.fromkeys([REFERENCE, *self.names]) if name not in known]):
            return
        beside = list(known)[:1]
        widths = {name: self.width(name) for name in [*beside, *missing]}
        batch, bf16 = recipe("tiny_imagenet_100").schedule.batch_size or 128, self.given.precision == "bf16"
        rounds = [
            {name: processor_seconds(name, width, self.classes, batch, bf16=bf16) for name, width in widths.items()}
            for _ in range(1 + REPEATS)
        ][1:]
        found = {name: statistics.median(one[name] for one in rounds) for name in widths}
        scale = known[beside[0]] / found[beside[0]] if beside else 1.0
        seconds = {name: scale * own for name, own in found.items()} | known
        about = {"reference": REFERENCE, "same_time": SAME_TIME, "batch_size": batch, "date": date.today().isoformat()}
        write_file(file, json_bytes({"seconds": seconds, **about}))

    def width(self, name: str) -> int:
        """The width that gives the wanted number of parameters."""
        return matched_width(name, self.given.parameters, self.classes)

    def steps(self, name: str, budget: str) -> int:
        """Steps of a run; those in equal time follow from ``times.json``."""
        if budget == "parameters":
            return self.given.steps
        seconds = read_json(self.folder / "times.json")["seconds"]
        return max(1, round(self.given.steps * seconds[REFERENCE] / seconds[name]))

    def run(self, name: str, budget: str, seed: int) -> None:
        """Train and measure, unless that is done.

        Raises:
            ValueError: the folder holds this run with other settings.
        """
        file, steps = self.file(name, budget, seed), self.steps(name, budget)
        if budget == "time" and abs(steps / self.given.steps - 1) < SAME_TIME:
            return
        width = self.width(name)
        registered, changes = options(name, width)
        base = recipe("tiny_imagenet_100")
        experiment = Experiment(
            model=registered,
            options=changes,
            optimiser=base.optimiser,
            schedule=ScheduleConfig(
                steps=steps, batch_size=base.schedule.batch_size, small_until=base.schedule.small_until
            ),
            loop=LoopConfig(seed=seed, precision=self.given.precision),
        )
        settings = {"target": self.given.parameters, "limit": self.given.limit, "side": SIDE}
        made_of = plain({"experiment": dataclasses.asdict(experiment), **settings})
        if file.exists():
            if read_json(file)["made_of"] != made_of:
                raise ValueError(f"{file} is of a run with other settings: choose another output folder")
            return
        print(f"{file.stem}: width {width}, {steps} steps", flush=True)
        with bounded_dictionaries(name == BOUNDED):
            done = fit(experiment, self.split, file.with_suffix(""), data_name="tiny_imagenet_100")
            results = self.results(name, width, seed, done)
        write_file(file, json_bytes(plain({"made_of": made_of, "budget": budget, **results})))

    def results(self, name: str, width: int, seed: int, done: Fit) -> dict[str, object]:
        """Everything that is measured of a trained model."""
        model, about = done.model, ("steps", "seconds", "precision", "parameters", "top1", "loss")
        return {
            "model": name,
            "family": type(model).__name__,
            "width": width,
            "seed": seed,
            **{key: done.metrics[key] for key in about},
            "gflop": count_flops(model.fold(), 3, IMG_SIZE, IMG_SIZE) / 1e9,
            "layers": layers(model, self.split),
            "emergence": masks(model, self.sets, self.given.limit),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "machine": platform.machine(),
            "date": date.today().isoformat(),
        }


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with tiny_imagenet_100 and the sets with masks")
    parser.add_argument("output", type=Path, help="folder for the runs and their JSON files")
    parser.add_argument("--models", nargs="+", default=[], help="names of models; default: one of every family")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budgets", nargs="+", choices=("parameters", "time"), default=["parameters", "time"])
    parser.add_argument("--parameters", type=int, default=2_000_000)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--precision", choices=("float32", "bf16"), default="bf16")
    parser.add_argument("--limit", type=int, help="images of every set with masks; default: all")
    arguments = parser.parse_args()
    logging.getLogger("crate_transformer.data").setLevel(logging.ERROR)
    comparison = Comparison(arguments)
    comparison.folder.mkdir(parents=True, exist_ok=True)
    comparison.measure_times()
    for seed in arguments.seeds:
        for budget in arguments.budgets:
            for name in comparison.names:
                comparison.run(name, budget, seed)


if __name__ == "__main__":
    main()
