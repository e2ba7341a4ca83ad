"""Models and data for semantic segmentation."""

import contextlib
import dataclasses
from pathlib import Path

import torch

from crate_transformer.configs.segmentation import SegmentationConfig
from crate_transformer.data import BrokenImageError, Masked, Split, open_masked
from crate_transformer.data.classes import same_names
from crate_transformer.models import DEPICTConfig, Segmenter, SegmenterConfig, backbone_of
from crate_transformer.progress import tracked
from crate_transformer.recipes.experiment import FittedExperiment
from crate_transformer.recipes.held_out import held_out_of, hold_out_again, joined, unseen
from crate_transformer.recipes.pictures import prepare_pictures
from crate_transformer.recipes.prepared import Prepared
from crate_transformer.training.tasks.segmentation import position_prior, segmentation_counts

EPS_FOR_TWO = 1e-2
"""Of the norm over two classes; see ``DEPICTConfig``."""
_CHECKED = 1000  # masks


def prepare_masks(experiment: FittedExperiment, split: Split[Masked], *, show: bool) -> Prepared:
    """As ``prepare_pictures``, with a new decoder for the classes of the pixels.

    Raises:
        ValueError: as in ``prepare_pictures``; the augmentation mixes images, or moves or erases their pixels; an
            option has no effect here; or a mask has a fault, which would otherwise end the run later, perhaps when its
            training is done.
    """
    task, classes = experiment.task, tuple(split.train.classes)
    if not isinstance(task, SegmentationConfig):
        raise ValueError(f"masks are for the task segmentation, not for {type(task).__name__}")
    if experiment.augment.mixes:
        raise ValueError("mixup and cutmix mix whole images, but here each pixel has a class: leave them out")
    if experiment.augment.randaugment:
        raise ValueError("randaugment rotates, shears and shifts images, but not their masks: leave it out")
    if experiment.augment.erase:
        raise ValueError("erase replaces pixels by noise, but not their classes: leave it out")
    if "global_pool" in experiment.options:
        raise ValueError("global_pool is for one class per image, but here each patch has its own: leave it out")
    for part, images in {"training": split.train, "held-out": split.val}.items():
        check_masks(images, part, show=show)
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


def check_masks(images: Masked, part: str, *, show: bool) -> None:
    """Read at most 1,000 masks, evenly spaced; raises the same errors as ``read_masked``."""
    places, readable = range(0, len(images), -(-len(images) // _CHECKED)), 0
    for index in tracked(f"{part} masks", places, len(places), show=show):
        with contextlib.suppress(BrokenImageError):  # loaders skip these images
            images.read_masked(index)
            readable += 1
    if not readable:
        raise ValueError(f"none of the {part} images of {images.where} can be read: repair or remove them")


def evaluate_masks(model: Segmenter, folder: Path, *, limit: int | None = None, **loading: int) -> dict[str, object]:
    """Scores on images with masks (see ``open_masked``): on the held-out part of a division on disk, else on those that
    training held out, else on all.

    The controls use the masks of the other part; if there is none, those of the same images, which favours the
    controls. Also ``images_used``, and a ``warning`` if training may have used some of them.

    Args:
        limit: use only the first images.
        loading: ``batch_size`` and ``num_workers``.

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
    candidates = joined(split.train, split.val) if split.divided_here else split.val
    images, used, warning = unseen(candidates, held_out)
    others = hold_out_again(split, held_out.held_out if held_out else ())[0].train
    if not len(others) or (split.divided_here and len(images) == len(candidates)):
        others = images
    if limit is not None and limit < len(images):
        images, used = images.subset(range(limit)), f"the first {limit} of {used}"
    counts = segmentation_counts(model, images, position_prior(model, others), **loading)
    return {**dataclasses.asdict(counts.scores()), "images_used": used, "warning": warning}
