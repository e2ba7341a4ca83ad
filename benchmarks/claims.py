"""Measure what the papers claim of CRATE's layers on the runs of ``comparison.py``.

python benchmarks/comparison.py ../shared/data runs/comparison
python benchmarks/comparison.py ../shared/data runs/claims --budgets parameters --models crate_negative crate_bounded
python benchmarks/claims.py ../shared/data runs/comparison runs/claims --output benchmarks/results/claims.json

Of every finished run with equal parameters one entry by layer: R^c and the fraction of non-zeros on held-out and on
training images and of an untrained model; the change of R^c by attention; the LASSO objective before and after ISTA,
the bound of the proximal step and the dictionary's norm; coherence of the subspaces; and the AUC of the best head of
each layer, chosen on other images, beside an untrained model and the mean-mask prior. A Markdown table of each is
printed, means over seeds.
"""

import argparse
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import BOUNDED, SIDE, bounded_dictionaries, spread

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.data import Source, crop_foregrounds, normalise, open_segmentation, open_split, preprocess
from crate_transformer.evaluation import attention_segmentation
from crate_transformer.inspection import (
    has_attention,
    layer_steps,
    layerwise_objective,
    subspace_geometry,
    untrained_twin,
)
from crate_transformer.inspection.subspaces import has_subspaces
from crate_transformer.models import Backbone
from crate_transformer.progress import tracked
from crate_transformer.storage import json_bytes, plain, read_json, write_file

SETS = ("pets/open", "animal_masks/open")
"""Sets of masks with which the layers are compared."""
TABLES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "R^c, held out": lambda run: run["objective"]["val"]["subspace_rate"],
    "R^c, training images": lambda run: run["objective"]["train"]["subspace_rate"],
    "R^c, untrained": lambda run: run["objective"]["val"]["untrained_subspace_rate"],
    "non-zeros, held out (%)": lambda run: percent(run["objective"]["val"]["nonzero"]),
    "non-zeros, training images (%)": lambda run: percent(run["objective"]["train"]["nonzero"]),
    "non-zeros, untrained (%)": lambda run: percent(run["objective"]["val"]["untrained_nonzero"]),
    "change of R^c by attention": lambda run: run["steps"]["trained"]["rate_change"],
    "change of R^c by attention, untrained": lambda run: run["steps"]["untrained"]["rate_change"],
    "tokens whose sparse objective is lowered (%)": lambda run: percent(run["steps"]["trained"].get("lowered")),
    "the same, untrained (%)": lambda run: percent(run["steps"]["untrained"].get("lowered")),
    "eta times the largest eigenvalue of D^T D": lambda run: run["steps"]["trained"].get("condition"),
    "eta times the largest eigenvalue of D^T D, untrained": lambda run: run["steps"]["untrained"].get("condition"),
    "coherence between heads": lambda run: run["geometry"].get("across"),
    "coherence between heads, untrained": lambda run: run["geometry"].get("untrained_across"),
    **{
        f"AUC, {name}, {row}": lambda run, name=name, row=row: (run["layer_auc"].get(name) or {}).get(row)
        for name in SETS
        for row in ("model", "untrained")
    },
}
"""Heading of a table -> one number for each layer of a run, or nothing."""


def percent(values: list[float] | None) -> list[float] | None:
    """In percent, if there are any."""
    return values and [100 * value for value in values]


def images_of(model: Backbone, source: Source) -> torch.Tensor:
    """Images evenly over all, in the model's geometry."""
    return torch.stack([preprocess(source.read(i), model.preprocessing) for i in spread(len(source))])


def objective(model: Backbone, images: torch.Tensor, twin: Backbone) -> dict[str, np.ndarray]:
    """Means over images of the layer-wise objective."""
    found = layerwise_objective(model, images, untrained=twin)
    names = ("subspace_rate", "nonzero")
    return {name: found.mean(name) for name in (*names, *(f"untrained_{name}" for name in names))}


def steps(model: Backbone, images: torch.Tensor, twin: Backbone) -> dict[str, dict[str, np.ndarray]]:
    """What attention and the sparse step change, means over images."""
    found, result = layer_steps(model, images, untrained=twin), {}
    for name in ("trained", "untrained"):
        own = getattr(found, name)
        result[name] = {"rate_change": (own.rate_after - own.rate_before).mean(axis=0)}
        if sparse := own.sparse:
            means = {key: getattr(sparse, key).mean(axis=0) for key in ("before", "after", "bound", "lowered")}
            result[name] |= means | {"condition": sparse.squared_norm / sparse.inverse_step}
    return result


def geometry(model: Backbone, twin: Backbone) -> dict[str, np.ndarray]:
    """Coherence of the subspaces, if the model has any."""
    if not has_subspaces(model):
        return {}
    found = subspace_geometry(model, untrained=twin)
    return {
        "within": found.trained.within,
        "across": found.trained.across,
        "untrained_within": found.untrained.within,
        "untrained_across": found.untrained.across,
    }


def layer_auc(model: Backbone, folder: Path, limit: int | None) -> dict[str, object] | None:
    """AUC of the best head of each layer, chosen on half of the images and reported on the others, beside the same of
    the best untrained model and the mean-mask prior; ``None`` without attention."""
    if not has_attention(model):
        return None
    cut = crop_foregrounds(open_segmentation(folder).first(limit), SIDE, coverage=(0.0, 1.0))
    images = normalise(cut.pixels, model.preprocessing)
    found = attention_segmentation({"model": model}, images, cut.masks, cut.pixels, undecided=cut.undecided)
    prior = found.auc["mean_mask_prior"].mean
    return {"model": found.layer_auc["model"], "untrained": found.layer_auc["model_untrained"], "prior": prior}


def measure(folder: Path, data: Path, limit: int | None) -> dict[str, object]:
    """Everything of the run in a folder."""
    model, split = load_checkpoint(folder), open_split(data / "tiny_imagenet_100")
    twin = untrained_twin(model)
    objectives = {name: objective(model, images_of(model, getattr(split, name)), twin) for name in ("val", "train")}
    return {
        "limit": limit,
        "objective": objectives,
        "steps": steps(model, images_of(model, split.val), twin),
        "geometry": geometry(model, twin),
        "layer_auc": {name: layer_auc(model, data / name, limit) for name in SETS if (data / name).is_dir()},
    }


def table(heading: str, runs: Iterable[tuple[str, dict[str, Any]]]) -> str:
    """Mean over the seeds of each model, by layer."""
    grouped: dict[str, list[list[float]]] = {}
    for name, run in runs:
        if (values := TABLES[heading](run)) is not None:
            grouped.setdefault(name, []).append(values)
    if not grouped:
        return ""
    depth = max(len(seed) for seeds in grouped.values() for seed in seeds)
    lines = [f"| {heading} | {' | '.join(map(str, range(depth)))} | seeds |", "| --- " * (depth + 2) + "|"]
    for name, seeds in grouped.items():
        means = [f"{statistics.fmean(layer):.3g}" for layer in zip(*seeds, strict=True)]
        lines.append(f"| `{name}` | {' | '.join(means)} | {len(seeds)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what is missing, write it, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with tiny_imagenet_100 and the sets with masks")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of comparison.py")
    parser.add_argument("--output", type=Path, required=True, help="JSON file; what it already has is kept")
    parser.add_argument("--limit", type=int, help="images of every set with masks; default: all")
    arguments = parser.parse_args()
    done: dict[str, Any] = read_json(arguments.output) if arguments.output.exists() else {}
    if any(run["limit"] != arguments.limit for run in done.values()):
        raise ValueError(f"{arguments.output} has results with another --limit: choose another output")
    files = sorted(file for folder in arguments.runs for file in folder.glob("*-parameters-seed*.json"))
    missing = [file for file in files if file.stem not in done]
    for file in tracked("runs", missing, len(missing)):
        with bounded_dictionaries(file.stem.startswith(BOUNDED)):
            done[file.stem] = plain(measure(file.with_suffix(""), arguments.data, arguments.limit))
        write_file(arguments.output, json_bytes(done))
    named = [(stem.partition("-")[0], run) for stem, run in sorted(done.items())]
    print("\n".join(filter(None, (table(heading, named) for heading in TABLES))))


if __name__ == "__main__":
    main()
