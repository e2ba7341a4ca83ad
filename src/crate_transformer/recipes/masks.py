"""Models and data for semantic segmentation."""

import dataclasses
from pathlib import Path

import torch

from crate_transformer.configs.segmentation import SegmentationConfig
from crate_transformer.data import Masked, Split, open_masked
from crate_transformer.data.classes import same_names
from crate_transformer.models import DEPICTConfig, Segmenter, SegmenterConfig, backbone_of
from crate_transformer.recipes.experiment import FittedExperiment
from crate_transformer.recipes.held_out import held_out_of, hold_out_again
from crate_transformer.recipes.pictures import prepare_pictures
from crate_transformer.recipes.prepared import Prepared
from crate_transformer.training.tasks.segmentation import position_prior, segmentation_counts

EPS_FOR_TWO = 1e-2
"""Of the norm over two classes; see ``DEPICTConfig``."""


def prepare_masks(experiment: FittedExperiment, split: Split[Masked], *, show: bool) -> Prepared:
    """As ``prepare_pictures``, with a new decoder for the classes of the pixels.

    Raises:
        ValueError: as in ``prepare_pictures``; or the augmentation mixes images.
    """
    task, classes = experiment.task, tuple(split.train.classes)
    if not isinstance(task, SegmentationConfig):
        raise ValueError(f"masks are for the task segmentation, not for {type(task).__name__}")
    if experiment.augment.mixes:
        raise ValueError("mixup and cutmix mix whole images, but here each pixel has a class: leave them out")
    prepared = prepare_pictures(experiment, split, show=show)
    decoder = DEPICTConfig(
        num_classes=len(classes),
        attention=task.attention,
        depth=task.decoder_depth,
        cross_depth=task.decoder_depth,
        num_heads=task.decoder_heads,
        norm_eps=EPS_FOR_TWO if len(classes) == 2 else 1e-5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.loop.seed)
        backbone = backbone_of(prepared.model, experiment.model)
        model = Segmenter(SegmenterConfig(backbone=backbone.config, decoder=decoder), backbone)
    model.class_names = classes
    return dataclasses.replace(prepared, model=model)


def evaluate_masks(model: Segmenter, folder: Path, *, num_workers: int = 0) -> dict[str, object]:
    """Scores on the held-out part of images with masks (see ``open_masked``), with controls from the other part.

    Also ``images_used``, and a ``warning`` if training may have used some of them.

    Raises:
        ValueError: as in ``open_masked``; or the classes are not those of the model.
    """
    split, held_out = open_masked(folder), held_out_of(model)
    if not same_names(split.train.classes, model.class_names or ()):
        found = ", ".join(split.train.classes[:5]) + (", ..." if len(split.train.classes) > 5 else "")
        raise ValueError(
            f"{folder} has the classes {found} ({len(split.train.classes)}), which are not the {model.num_classes} of "
            "the model: name them alike in classes.json"
        )
    known = set(held_out.held_out) if held_out else set()
    split, _ = hold_out_again(split, known)
    warning = None
    if not known.issuperset(split.val.keys()):
        warning = "not all of these images are known to have been held out: training may have used them"
    counts = segmentation_counts(model, split.val, position_prior(model, split.train), num_workers=num_workers)
    used = f"{len(split.val)} images ({split.how})"
    return {**dataclasses.asdict(counts.scores()), "images_used": used, "warning": warning}
