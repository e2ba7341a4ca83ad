"""Does attention mark objects? Checkpoints on sets of pictures with masks, each beside its controls, in one JSON file.

python benchmarks/emergence.py ../shared/data benchmarks/results/emergence_2026-11-27.json NAME_OR_FOLDER ...

``evaluation.attention_segmentation`` on squares of 128 pixels: layer and head are chosen on half of a set's pictures,
numbers are of the other half. Undecided pixels of a mask count as background. Of COCO, whose masks are the union of all
things, only pictures that are covered to 3 to 60% are taken. What the file holds of the same weights is kept, so a run
can be continued. Prints two Markdown tables: the numbers, and the choice of a head over all sets.
"""

import argparse
import hashlib
import logging
import platform
import sys
from datetime import date
from pathlib import Path

import numpy as np
import torch

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.checkpoints.native import WEIGHTS
from crate_transformer.checkpoints.pretrained import bundled_folder
from crate_transformer.data import Foregrounds, crop_foregrounds, normalise, open_segmentation
from crate_transformer.evaluation import SegmentationReport, attention_segmentation
from crate_transformer.models import Backbone
from crate_transformer.storage import json_text, parse_json, plain, read_file, write_file

SIDE, SEED = 128, 0
SETS = {
    "pets": "pets/open",
    "animal_masks": "animal_masks/open",
    "horses": "horses/open",
    "ecssd": "ecssd/open",
    "camo_animals": "camo_animals/open",
    "coco_val100": "coco_val100",
}
COVERAGE = {"coco_val100": (0.03, 0.60)}
CONTROLS = ("mean_mask_prior", "model_shuffled", "brightness", "contrast", "model_untrained")


def weights_digest(checkpoint: str) -> str:
    """SHA-256 of the file of the weights."""
    folder = bundled_folder(checkpoint) or Path(checkpoint)
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def measured(model: Backbone, pictures: Foregrounds) -> dict[str, object]:
    """The report, how far the model lies above the prior, and its single images for comparisons of models."""
    images = normalise(pictures.pixels, model.preprocessing)
    report = attention_segmentation({"model": model}, images, pictures.masks, pictures.pixels, seed=SEED)
    above = {metric: above_prior(report, metric) for metric in ("auc", "miou")}
    single = {metric: getattr(report, metric)["model"].per_image.round(4).tolist() for metric in ("auc", "miou")}
    return report.to_dict() | {"above_prior": above, "per_image": single}


def above_prior(report: SegmentationReport, metric: str) -> dict[str, float]:
    """Mean difference to the mean-mask prior and its standard error, paired over images."""
    rows = getattr(report, metric)
    return mean_and_error(rows["model"].per_image - rows["mean_mask_prior"].per_image)


def mean_and_error(values: np.ndarray) -> dict[str, float]:
    """Mean over images and its standard error."""
    return {"mean": float(values.mean()), "standard_error": float(values.std(ddof=1) / len(values) ** 0.5)}


def tables(models: dict[str, dict]) -> str:
    """Every model on every set, bold where above every control by two standard errors; then the heads chosen."""
    first = next(iter(models))
    lines = [f"Controls: {', '.join(CONTROLS)}.", ""]
    lines += [f"| set, reported images | weights | AUC | controls | above prior | against {first} | mIoU | controls |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for name in SETS:
        for label, model in models.items():
            found = model["sets"].get(name)
            if found is None or "refused" in found:
                continue
            scores = []
            for metric in ("auc", "miou"):
                clear = all(found["beats"]["model"][metric].values())
                controls = " / ".join(f"{found[metric][row]['mean']:.3f}" for row in CONTROLS)
                scores += [[number(found[metric]["model"], bold=clear), controls]]
            differences = [number(found["above_prior"]["auc"]), difference(found, models[first]["sets"].get(name))]
            cells = [f"{name}, {found['num_reported']}", label, *scores[0], *differences, *scores[1]]
            lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| weights | layer, head chosen over all sets | mean AUC on the selection images |", "|---|---|---|"]
    for label, model in models.items():
        if chosen := model["chosen_head"]:
            lines.append(f"| {label} | {chosen['layer']}, {chosen['head']} | {chosen['selection_auc']:.4f} |")
    return "\n".join(lines)


def difference(found: dict, other: dict | None) -> str:
    """Of the AUC to that of another model on the same images."""
    if other is None or other is found or "refused" in other:
        return ""
    return number(mean_and_error(np.subtract(found["per_image"]["auc"], other["per_image"]["auc"])))


def number(score: dict[str, float], bold: bool = False) -> str:
    """Mean and standard error."""
    return f"{'**' * bold}{score['mean']:.3f}{'**' * bold} ± {score['standard_error']:.3f}"


def chosen_head(model: dict) -> dict[str, object] | None:
    """The head with the best AUC on the selection images, mean over sets; ``None`` for a model without attention."""
    found = [entry["selection_auc"]["model"] for entry in model["sets"].values() if "refused" not in entry]
    if not found:
        return None
    aucs = np.mean(found, axis=0)
    layer, head = np.unravel_index(aucs.argmax(), aucs.shape)
    return {"layer": int(layer), "head": int(head), "selection_auc": float(aucs.max()), "sets": len(found)}


def main() -> None:
    """Measure what is not in the file yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the sets, " + ", ".join(SETS))
    parser.add_argument("output", type=Path)
    parser.add_argument("checkpoints", nargs="+", help="names of bundled weights, or folders")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    arguments = parser.parse_args()
    logging.getLogger("crate_transformer.data").setLevel(logging.ERROR)  # what it would say stands above
    content = parse_json(read_file(arguments.output), str(arguments.output)) if arguments.output.exists() else {}
    models = content.get("models", {})
    for checkpoint in arguments.checkpoints:
        model, label = load_checkpoint(checkpoint), Path(checkpoint).name
        about = {"weights_sha256": weights_digest(checkpoint), "parameters": sum(p.numel() for p in model.parameters())}
        if models.get(label, {}).get("weights_sha256") != about["weights_sha256"]:
            models[label] = about | {"sets": {}}
        entry = models[label]
        for name in arguments.sets:
            if name in entry["sets"]:
                continue
            samples = open_segmentation(arguments.data / SETS[name])
            pictures = crop_foregrounds(samples, SIDE, coverage=COVERAGE.get(name, (0.0, 1.0)))
            try:
                entry["sets"][name] = measured(model, pictures)
            except ValueError as error:
                entry["sets"][name] = {"refused": str(error)}
            entry["chosen_head"] = chosen_head(entry)
            content = {
                "command": " ".join(["python", *sys.argv]), "seed": SEED, "side": SIDE, "data": SETS,
                "coverage": COVERAGE, "date": date.today().isoformat(), "torch": torch.__version__,
                "hardware": f"CPU, {platform.machine()}, {torch.get_num_threads()} threads", "models": models,
            }  # fmt: skip
            write_file(arguments.output, json_text(plain(content)).encode())
            print(f"{label} {name}: measured", file=sys.stderr, flush=True)
    print(tables(models))


if __name__ == "__main__":
    main()
