"""Put a checkpoint that ``gpu_unpack.py`` made into the package: its weights, all its numbers, and a model card.

python benchmarks/gpu_pack.py runs/gpu/crate benchmarks/results/emergence_2026-11-27.json NAME.TAG
"""

import argparse
from pathlib import Path

import torch

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.checkpoints.pretrained import BUNDLED
from crate_transformer.models import Backbone
from crate_transformer.storage import parse_json, read_file

COMMAND = (
    "bash benchmarks/gpu_train.sh 430 "
    "--plan crate:220,crate_plain:80,crate_mini:40,vit_mini:30,crate_alpha_mini:30,tost_mini:30"
)
SETS = {
    "pets": "cats and dogs (Oxford-IIIT Pet)",
    "animal_masks": "elephants, rhinos, birds, cows, sheep",
    "horses": "horses (Weizmann)",
    "ecssd": "salient objects (ECSSD)",
    "camo_animals": "camouflaged animals (CAMO)",
    "coco_val100": "things of COCO val2017",
}
ROWS = {
    "model": "**these weights**",
    "mean_mask_prior": "mean-mask prior",
    "model_shuffled": "masks of other images",
    "brightness": "brightness",
    "contrast": "contrast",
    "model_untrained": "untrained",
}
CARD = Path(__file__).with_name("gpu_card.md")


def table(title: str, found: dict) -> str:
    """One set: the model beside its controls."""
    lines = [f"**{title}**, {found['num_selection']} selection and {found['num_reported']} reported images", ""]
    lines += ["| row | AUC | mIoU |", "|---|---|---|"]
    for row, text in ROWS.items():
        cells = []
        for metric in ("auc", "miou"):
            bold = "**" * (row == "model" and all(found["beats"]["model"][metric].values()))
            score = found[metric][row]
            cells.append(f"{bold}{score['mean']:.3f}{bold} ± {score['standard_error']:.3f}")
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines)


def model_card(model: Backbone, name: str, metadata: dict) -> str:
    """What the weights are, where they come from, and what they can do."""
    training, metrics, attention = (metadata[key] for key in ("training", "metrics", "attention"))
    recipe, low, high = training["recipe"], *metrics["top1_interval"]
    sizes = {key: getattr(model.config, key) for key in ("patch_size", "embed_dim", "depth", "num_heads")}
    facts = {
        "name": name,
        "low": low,
        "high": high,
        "run": training["name"],
        "minutes": training["seconds"] / 60,
        "epochs": training["images"] * (1 - recipe["more"]) / 50_000,
        "stages": ", ".join(f"{side}" for _, side, _ in recipe["stages"]),
        "batches": ", ".join(f"{count:,}" for _, _, count in recipe["stages"]),
        "tables": "\n\n".join(table(SETS[key], found) for key, found in attention["sets"].items()),
        "layer": attention["layer"],
        "head": attention["head"],
    }
    return CARD.read_text(encoding="utf-8").format(**training | metrics | sizes | recipe | facts)


def main() -> None:
    """Gather what was measured and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("emergence", type=Path, help="of emergence.py, which measured these weights")
    parser.add_argument("name", help="MODEL.TAG")
    arguments = parser.parse_args()
    model = load_checkpoint(arguments.checkpoint)
    about = dict(model.provenance.metadata)
    numbers, accuracy, parameters = about.pop("training"), about.pop("held_out"), about.pop("parameters")
    found = parse_json(read_file(arguments.emergence), str(arguments.emergence))["models"][arguments.checkpoint.name]
    sets = {
        name: {key: value for key, value in entry.items() if key not in ("per_image", "selection_auc")}
        for name, entry in ((name, found["sets"][name]) for name in SETS)
    }
    chosen = found["chosen_head"]
    metadata = {
        "training": {"command": COMMAND, **about, **numbers},
        "metrics": {"parameters": parameters, "steps": numbers["steps"], **accuracy},
        "attention": {
            "layer": chosen["layer"],
            "head": chosen["head"],
            "chosen": f"best mean AUC over the selection halves of {', '.join(sets)}",
            "sets": sets,
        },
    }
    card = model_card(model, arguments.name, metadata)
    save_checkpoint(model, BUNDLED / arguments.name, metadata=metadata, model_card=card, dtype=torch.bfloat16)
    print(BUNDLED / arguments.name)


if __name__ == "__main__":
    main()
