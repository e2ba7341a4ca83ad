"""Make a checkpoint folder of each file that ``gpu_train.py`` wrote, and measure its accuracy on this machine.

python benchmarks/gpu_unpack.py ../shared/data/tiny_imagenet_100 runs/gpu .device/crate.safetensors ...
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from crate_transformer.checkpoints import load_checkpoint, model_card, save_checkpoint
from crate_transformer.data import ImageFolder, eval_loader, open_evaluation
from crate_transformer.evaluation import accuracy
from crate_transformer.models import Backbone, Preprocessing, build_model


def unpack(file: Path, images: ImageFolder, folder: Path) -> Backbone:
    """Write the checkpoint ``folder`` with the numbers of the run, and accuracy here on ``images``; returns it loaded.

    ``held_out_part`` is the accuracy on the images that the GPU machine had, where they are every n-th of ``images``.
    """
    with safe_open(file, "pt") as stream:
        about = json.loads(stream.metadata()["about"])
    classes = tuple(about.pop("classes"))
    if classes != images.classes:
        raise ValueError(f"{file} was trained on other classes than those of {images.root}")
    model = build_model(about["model"], **about["options"], num_classes=len(classes))
    model.load_state_dict(load_file(file))
    side = about.pop("img_size")
    model.preprocessing, model.class_names = Preprocessing(img_size=(side, side), crop_pct=1.0), classes
    model.eval()

    about["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    measured = {"held_out": accuracy(model, eval_loader(images, model.preprocessing, batch_size=100))}
    step = len(images) // about["training"].get("held_out_images", len(images))
    if step > 1:
        part = images.subset(range(0, len(images), step))
        measured["held_out_part"] = accuracy(model, eval_loader(part, model.preprocessing, batch_size=100))
    metadata = about | {name: asdict(score) for name, score in measured.items()}
    card = model_card(model, folder.name, {name: value for name, value in metadata.items() if name != "curve"})
    save_checkpoint(model, folder, metadata=metadata, model_card=card, dtype=torch.bfloat16)
    return load_checkpoint(folder)


def main() -> None:
    """Unpack every file given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=1, help="measure on every n-th image only")
    arguments = parser.parse_args()
    images = open_evaluation(arguments.data)
    images = images.subset(range(0, len(images), arguments.every))
    for file in arguments.files:
        about = unpack(file, images, arguments.output / file.stem).provenance.metadata
        there, here = about["training"].get("top1"), {name: about.get(name) for name in ("held_out", "held_out_part")}
        print(f"{arguments.output / file.stem}: {about['parameters']:,} parameters; top-1 there {there}, here {here}")


if __name__ == "__main__":
    main()
