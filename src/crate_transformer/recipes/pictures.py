"""Models and data for the objectives that learn from images."""

import dataclasses
import functools

from crate_transformer.data import Source, Split
from crate_transformer.recipes.experiment import Experiment, FittedExperiment
from crate_transformer.recipes.held_out import HeldOut, held_out_of, hold_out_again, keys_held_out
from crate_transformer.recipes.prepared import Prepared
from crate_transformer.recipes.start import scaled_size, seeded_model, training_size


def prepare_pictures(experiment: FittedExperiment, split: Split[Source], *, show: bool) -> Prepared:
    """A model for the classes and the image size; images held out by the checkpoint to start from are held out again.

    Raises:
        ValueError: as in ``check_labels`` and ``seeded_model``; or that checkpoint held out all training images.
    """
    check_labels(experiment, split)
    model = seeded_model(experiment, tuple(split.train.classes))
    if show and experiment.task.teaches_classes and "decoder" in model.not_in_logits:
        print(f"{experiment.start_from}: the encoder learns the classes, the decoder is unchanged")
    size, schedule = scaled_size(model, experiment.schedule.scale), experiment.schedule
    model.preprocessing = dataclasses.replace(model.preprocessing, img_size=size, crop_pct=experiment.crop_pct)
    earlier = held_out_of(model) if experiment.start_from else None
    known = earlier.held_out if earlier else ()
    where = split.train.where
    split, again = hold_out_again(split, known)
    if not len(split.train):
        raise ValueError(
            f"{experiment.start_from} held out all training images of {where}: nothing is left to train on, give others"
        )
    if show and again:
        print(f"{again} images held out by {experiment.start_from} are not used for training")
    if experiment.task.teaches_classes:
        model.class_names = tuple(split.train.classes)
        model.exclusive_classes = getattr(split.train, "targets", None) is None
    kept = None
    if (keys := keys_held_out(split)) is not None:
        kept = HeldOut(how=split.how, divided_here=split.divided_here, held_out=sorted({*keys, *known}))
    return Prepared(
        model=model,
        train=split.train,
        held_out=split.val,
        size=functools.partial(
            training_size,
            img_size=size,
            patch_size=model.patch_size,
            small_until=schedule.small_until,
            steps=schedule.steps,
        ),
        split=kept,
    )


def check_labels(experiment: Experiment, split: Split[Source]) -> None:
    """Raise ``ValueError`` if the labels do not allow balanced sampling or evaluation."""
    if experiment.augment.balanced and split.train.labels is None:
        raise ValueError(f"balanced needs one class per image, which {split.train.where} does not have")
    targets = getattr(split.val, "targets", None)
    if targets is not None and not targets.any():
        raise ValueError(f"none of the held-out images of {split.val.where} has a class: there is nothing to evaluate")
