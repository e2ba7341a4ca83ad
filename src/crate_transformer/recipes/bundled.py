"""Training, evaluation and packaging of the bundled model, a small CRATE for natural photographs."""

from dataclasses import asdict
from pathlib import Path

import torch

from crate_transformer.checkpoints import save_checkpoint
from crate_transformer.data import (
    Source,
    crop_foregrounds,
    eval_loader,
    normalise,
    open_segmentation,
    open_split,
)
from crate_transformer.evaluation import SegmentationReport, accuracy, attention_segmentation
from crate_transformer.models import Backbone, backbone_of
from crate_transformer.recipes.run import fit
from crate_transformer.recipes.tiny_imagenet import tiny_imagenet_100, tiny_imagenet_100_128

COCO_SIZE = 128  # pixels: 16 x 16 tokens


def pack_bundled(data: Path, coco: Path, runs: Path, checkpoint: Path) -> SegmentationReport:
    """Train (or load) both stages in ``runs``, evaluate, and write the ``checkpoint``.

    Weights are stored in bfloat16; the stored weights are evaluated.
    """
    split = open_split(data)
    fit(tiny_imagenet_100(), split, runs / "bundled-64", data_name=data.name)
    done = fit(tiny_imagenet_100_128(str(runs / "bundled-64")), split, runs / "bundled", data_name=data.name)
    return pack(backbone_of(done.model, done.folder.name), split.val, coco, checkpoint, done.metrics)


def pack(
    model: Backbone, held_out: Source, coco: Path, checkpoint: Path, training: dict[str, object]
) -> SegmentationReport:
    """Round the weights, measure accuracy and attention, and write weights, metrics and model card."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    metrics = {**training, **asdict(accuracy(model, eval_loader(held_out, model.preprocessing, batch_size=256)))}
    objects = crop_foregrounds(open_segmentation(coco), COCO_SIZE)
    report = attention_segmentation(
        {"crate": model}, normalise(objects.pixels, model.preprocessing), objects.masks, objects.pixels
    )
    best = report.auc["crate"]
    metadata = {
        "recipe": "tiny_imagenet_100, then tiny_imagenet_100_128",
        "metrics": metrics,
        "attention": {
            "layer": best.layer,
            "head": best.head,
            "chosen": f"chosen by AUC on {report.num_selection} masked images of COCO val2017",
            **report.to_dict(),
        },
    }
    save_checkpoint(
        model,
        checkpoint,
        metadata=metadata,
        model_card=model_card(checkpoint.name, metrics, report),
        dtype=torch.bfloat16,
    )
    return report


def model_card(name: str, metrics: dict[str, object], report: SegmentationReport) -> str:
    """The model card of the bundled weights."""
    best = report.auc["crate"]
    rows = "\n".join(
        f"| {row.replace('_', ' ')} | {score.mean:.3f} | {score.standard_error:.3f} | {report.miou[row].mean:.3f} |"
        for row, score in report.auc.items()
    )
    return f"""---
license: mit
library_name: crate-transformer
tags: [image-classification, white-box, crate]
---

# {name}: CRATE on 100 classes of Tiny-ImageNet

A CRATE (arXiv 2306.01129) with {metrics["parameters"]:,} parameters: patch size 8, width 320, depth 6, 5 heads, for
images of 128 px; stored in bfloat16. The model is small and was trained for minutes: use it to look inside, not in
products.

**Data.** 50,000 training images of 100 of the 200 classes of Tiny-ImageNet (CS231n), derived from ImageNet. ImageNet's
images are provided for non-commercial research and education; respect these terms when you use the weights.

**Recipe.** `tiny_imagenet_100` (6,250 steps of 128 images at 48 and 64 px), then `tiny_imagenet_100_128` (220 steps of
64 images at 128 px), with random resized crops and flips, label smoothing, Muon and AdamW, bf16. Time and hardware are
in docs/results.md of the project.

**Accuracy.** Top-1 {metrics["top1"]:.1%}, top-5 {metrics["top5"]:.1%} on the {metrics["count"]:,} validation
images of these classes, upscaled from 64 to 128 px.

**Attention of the class token against object masks.** COCO val2017 (not used in training), union of all objects, maps
of {report.grid[0]} x {report.grid[1]} tokens. Layer {best.layer}, head {best.head} (zero-based) was chosen on
{report.num_selection} images; the scores are from {report.num_reported} other images. Layer and head are chosen
separately for every row.

| row | AUC | standard error | mIoU |
|---|---|---|---|
{rows}

*shuffled*: the same maps against masks of other images; *centred*: each head's mean map subtracted; *mean mask
prior*: the mean mask for all images; *brightness, contrast, median difference*: of the patch itself, without a model.

**Limits.** The model always predicts one of its 100 classes. It was not evaluated for any group of people or any use.
"""
