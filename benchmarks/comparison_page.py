"""The page of a comparison, from the JSON files of its runs.

python benchmarks/comparison_page.py runs/comparison docs/comparison.md
"""

import argparse
import re
import statistics
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from crate_transformer.models import MODELS
from crate_transformer.storage import read_json, write_file

CONTROLS = ("mean_mask_prior", "shuffled", "brightness", "contrast", "median_difference", "untrained")
MEASURES = {"auc": "AUC", "miou": "mIoU", "corloc": "CorLoc"}
CRATE, TOST, CBT = "arXiv 2306.01129, table 1", "arXiv 2412.17810", "arXiv 2509.16875, table 3"
HYPER_SET = "project page of arXiv 2502.11646"
PUBLISHED = {
    "CRATE": [("tiny", 6.09, 66.7, CRATE), ("small", 13.12, 69.2, CRATE), ("base", 22.80, 70.8, CRATE)],
    "CRATEAlpha": [("base, patch 16", 72.33, 81.2, "README of arXiv 2405.20299, after ImageNet-21K")],
    "ToST": [("tiny", 5.8, 67.3, TOST), ("small", 22.6, 77.9, TOST)],
    "CBT": [("tiny", 1.8, 63.2, CBT), ("small", 6.7, 71.4, CBT), ("base", 25.7, 73.4, CBT)],
    "HyperSET": [("512, one layer", 2.39, 62.76, HYPER_SET), ("512, twelve layers", 8.17, 66.26, HYPER_SET)],
    "RecurrentCRATE": [("768, one layer", 3.00, 57.00, HYPER_SET), ("CRATE-T, 896, one layer", 3.04, 57.89, HYPER_SET)],
    "ViT": [("384, one layer", 2.38, 66.94, HYPER_SET), ("384, twelve layers", 21.86, 67.90, HYPER_SET)],
    "AoT": [("MSSA", 22.0, 71.7, "second-hand, of arXiv 2506.03790")],
}
"""ImageNet-1K, without other data unless stated: family -> size, millions of parameters, top-1 in percent, source."""
PUBLISHED_MASKS = {
    "CRATE": "mIoU 23.9 (S/8, arXiv 2308.16271, figure 4b); Jaccard index .65 (S, arXiv 2509.16875, table 5)",
    "ViT": "mIoU 14.1 (S/8, arXiv 2308.16271, figure 4b)",
    "CBT": "Jaccard index .51 (S, arXiv 2509.16875, table 5)",
    "ToST": "Jaccard index .42 (S, arXiv 2509.16875, table 5)",
}
"""Attention of models trained on ImageNet compared with the objects of VOC12, by family."""
STEPS = {
    "attention lowers R^c (% of images)": lambda found: found["trained"]["compressing"],
    "untrained": lambda found: found["untrained"]["compressing"],
    "sparse step lowers its objective (% of tokens)": lambda found: (found["trained"]["sparse"] or {}).get("lowered"),
    "lowers, untrained": lambda found: (found["untrained"]["sparse"] or {}).get("lowered"),
    "it keeps its bound (% of tokens)": lambda found: (found["trained"]["sparse"] or {}).get("bounded"),
    "bound, untrained": lambda found: (found["untrained"]["sparse"] or {}).get("bounded"),
    "attention lowers its energy (% of images)": lambda found: (found["energies"] or {}).get("attention"),
    "feed-forward lowers its energy": lambda found: (found["energies"] or {}).get("feed_forward"),
}
"""Column -> fractions by layer in the results of a run, if there are any."""
PAGE = """# The families compared

Every family of the registry, trained by one recipe on Tiny-ImageNet-100 at 64 px and measured in the same way. This
page is written by `benchmarks/comparison_page.py` from the results of `benchmarks/comparison.py`, where the choices are
stated. A model is called as the registered size whose options it has, apart from its sizes. A cell is the mean over
seeds ± their standard deviation, if there are several. One recipe, chosen for CRATE, is not the best for every family,
and small models after few steps say little about large ones.

{note}{dates}, threads: {threads}, {machine}, trained in {precision}, torch {torch}. Parameters are matched to
{target:,}, with a head for the classes; all models have the same depth and number of heads. GFLOP are of one
image of 64 px through the folded model; seconds are the processor time of the forward and backward pass of one
batch of {batch_size} images, medians of interleaved repeats. Attention is measured on squares of {side} px.

## Equal parameters, equal steps

{equal_parameters}

## Equal training time

As many steps as CRATE makes with equal parameters in the same processor time of forward and backward passes.
If they differ by less than {same_time:.0%} from those with equal parameters, these runs are shown.
Models that are missing here have not been trained so.

{equal_time}

## Attention against masks

Equal parameters. Layer, head and sign are chosen on other images than those reported, also for the controls, which are
those of AUC; **bold** is above every control by two standard errors, paired over images, with every seed. See [what the
measurements mean](explanation/measurements.md). First AUC on every set, then every measure and control.

{auc}

{emergence}

### Equal training time

AUC on every set, as above.

{auc_in_equal_time}

## Does each step do what it was derived for?

One number per layer, first layer first, on held-out images; empty if the family has no such step,
or if it changes R^c of no image, as untrained step sizes of zero.

{steps}

## Beside the papers

Other data and other sizes: the order of families can be compared, the numbers cannot.

{published}

{published_masks}
"""


class Runs:
    """The runs of a folder by model and budget."""

    def __init__(self, folder: Path) -> None:
        self.found: dict[tuple[str, str], list[dict]] = {}
        self.times = read_json(folder / "times.json")
        for file in sorted(folder.glob("*-seed*.json")):
            run = read_json(file)
            self.found.setdefault((run["model"], run["budget"]), []).append(run)
        if not self.having("parameters"):
            raise ValueError(f"{folder} contains no results: run benchmarks/comparison.py first")

    def having(self, budget: str) -> list[tuple[str, list[dict]]]:
        """The models with runs of this budget, and their seeds; where both budgets give almost the same steps there are
        only runs with equal parameters."""
        found = {name: self.found.get((name, budget)) or self._same(name) for name in MODELS}
        return [(name, seeds) for name, seeds in found.items() if seeds]

    def _same(self, name: str) -> list[dict]:
        seconds = self.times["seconds"]
        equal = self.found.get((name, "parameters"), [])
        same = equal and abs(seconds[self.times["reference"]] / seconds[name] - 1) < self.times["same_time"]
        return equal if same else []

    def first(self) -> list[dict]:
        """The first seed of every model with equal parameters."""
        return [seeds[0] for _, seeds in self.having("parameters")]


def spread(values: Iterable[float], shown: str = "{:.3f}") -> str:
    """Mean and, of several different values, standard deviation."""
    values = list(values)
    return " ± ".join(shown.format(read(values)) for read in (statistics.fmean, statistics.stdev)[: len(set(values))])


def table(titles: list[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def family(run: dict) -> str:
    """The family with its paper, which the module of its model names."""
    kind = MODELS[run["model"]][0]
    paper = re.search(r"arXiv (\d{4}\.\d{5})", sys.modules[kind.__module__].__doc__ or "")
    return f"{kind.__name__} ([{paper[1]}](https://arxiv.org/abs/{paper[1]}))" if paper else kind.__name__


def costs(runs: Runs, budget: str) -> str:
    """Parameters, arithmetic, time and accuracy."""
    rows = []
    for name, seeds in runs.having(budget):
        about, steps = seeds[0], sorted({run["steps"] for run in seeds})
        model = [family(about), f"`{name}`", about["width"], f"{about['parameters']:,}", f"{about['gflop']:.3f}"]
        seconds = f"{runs.times['seconds'][name]:.2f}"
        top1 = spread(run["top1"] for run in seeds)
        rows.append([*model, " to ".join(f"{count:,}" for count in steps), seconds, top1, len(seeds)])
    return table(["family", "model", "width", "parameters", "GFLOP", "steps", "seconds", "top-1", "seeds"], rows)


def score(seeds: list[dict], measure: str) -> str:
    """A measure of one model on one set, bold where above every control with every seed."""
    shown = spread(seed[measure]["rows"]["model"]["mean"] for seed in seeds)
    return f"**{shown}**" if all(seed[measure]["above_every_control"] for seed in seeds) else shown


def emergence(runs: Runs) -> str:
    """The measures on every set beside the controls, with equal parameters."""
    parts = []
    for data in runs.first()[0]["emergence"]:
        rows = []
        for name, found in runs.having("parameters"):
            seeds = [run["emergence"][data] for run in found]
            if refused := next((seed["refused"] for seed in seeds if "refused" in seed), None):
                rows.append([f"`{name}`", refused, *[""] * (len(MEASURES) + len(CONTROLS) - 1)])
                continue
            controls = (spread(seed["auc"]["rows"][row]["mean"] for seed in seeds) for row in CONTROLS)
            rows.append([f"`{name}`", *(score(seeds, measure) for measure in MEASURES), *controls])
        titles = ["model", *MEASURES.values(), *(row.replace("_", " ") for row in CONTROLS)]
        parts.append(f"### {data}\n\n{table(titles, rows)}")
    return "\n\n".join(parts)


def auc(runs: Runs, budget: str) -> str:
    """AUC on every set; empty for a model without attention maps."""
    sets = list(runs.first()[0]["emergence"])
    rows = []
    for name, runs_of in runs.having(budget):
        found = ([run["emergence"][data] for run in runs_of] for data in sets)
        rows.append([f"`{name}`", *("" if "refused" in seeds[0] else score(seeds, "auc") for seeds in found)])
    return table(["model", *sets], rows)


def steps(runs: Runs) -> str:
    """By layer, how often each step lowers what it was derived from, mean over seeds."""
    rows = []
    for name, found in runs.having("parameters"):
        seeds = [run["layers"] for run in found]
        cells = [by_layer([read(seed) for seed in seeds]) for read in STEPS.values()]
        rows.append([f"`{name}`", "yes" if seeds[0]["derived"] else "no", *cells])
    return table(["model", "attention derived from R^c", *STEPS], rows)


def by_layer(seeds: list[list[float] | None]) -> str:
    """The mean over seeds for every layer, in percent."""
    return (
        "" if None in seeds else " ".join(f"{100 * statistics.fmean(layer):.0f}" for layer in zip(*seeds, strict=True))
    )


def published(runs: Runs) -> str:
    """The papers' accuracies beside ours."""
    rows = []
    for name, seeds in runs.having("parameters"):
        ours = [f"{seeds[0]['parameters'] / 1e6:.2f} M", spread((100 * run["top1"] for run in seeds), "{:.1f}")]
        for size, millions, top1, source in PUBLISHED.get(seeds[0]["family"], [("none known", "", "", "")]):
            rows.append([f"`{name}`", *ours, size, millions and f"{millions} M", top1, source])
    ours, theirs = ["ours", "parameters", "top-1, Tiny-ImageNet-100"], ["published", "parameters", "top-1, ImageNet-1K"]
    return table([*ours, *theirs, "source"], rows)


def published_masks(runs: Runs) -> str:
    """The papers' numbers for attention against masks."""
    kinds = dict.fromkeys(run["family"] for run in runs.first())
    rows = [[kind, PUBLISHED_MASKS[kind]] for kind in kinds if kind in PUBLISHED_MASKS]
    return table(["family", "published, attention against objects of VOC12"], rows)


def page(runs: Runs, note: str) -> str:
    """The whole page."""
    first = runs.first()[0]
    dates = sorted({run["date"] for found in runs.found.values() for run in found})
    return PAGE.format(
        dates=" to ".join(dict.fromkeys((dates[0], dates[-1]))),
        target=first["made_of"]["target"],
        equal_parameters=costs(runs, "parameters"),
        equal_time=costs(runs, "time"),
        emergence=emergence(runs),
        auc=auc(runs, "parameters"),
        auc_in_equal_time=auc(runs, "time"),
        note=note and f"{textwrap.fill(note, 118)}\n\n",
        steps=steps(runs),
        published=published(runs),
        published_masks=published_masks(runs),
        same_time=runs.times["same_time"],
        batch_size=runs.times["batch_size"],
        side=first["made_of"]["side"],
        precision=" and ".join(sorted({run["precision"] for found in runs.found.values() for run in found})),
        **{key: first[key] for key in ("threads", "machine", "torch")},
    )


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--note", default="", help="a sentence on the command and the machine")
    arguments = parser.parse_args()
    write_file(arguments.output, page(Runs(arguments.runs), arguments.note).encode())


if __name__ == "__main__":
    main()
