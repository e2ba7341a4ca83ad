"""What an experiment is, and how it is run: the one place where data, training, evaluation and checkpoints meet."""

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.data import ArrayImages, Augment, ImageFolder, Split, eval_loader, in_memory, train_loader
from crate_transformer.evaluation import Accuracy, accuracy
from crate_transformer.models import CRATEMAE, Backbone, build_model
from crate_transformer.progress import ProgressLine
from crate_transformer.recipes.held_out import HeldOut, held_out_of, hold_out_again, keys_held_out
from crate_transformer.recipes.output import check_output, finished_run, make_output
from crate_transformer.storage import plain
from crate_transformer.training.classification import Classification
from crate_transformer.training.config import ENOUGH_STEPS, TrainConfig
from crate_transformer.training.loop import train
from crate_transformer.training.state import remove_states


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A model by name, what is different from its registered configuration, and how it is trained.

    ``start_from`` names a checkpoint to fine-tune instead; ``crop_pct`` is the share of the side that evaluation keeps.
    """

    model: str
    options: dict[str, object] = field(default_factory=dict)
    start_from: str | None = None
    train: TrainConfig
    crop_pct: float = 1.0


@dataclass(frozen=True)
class Fit:
    """A trained model and its numbers; ``accuracy`` is that on the held-out images.

    ``earlier_seconds`` of training were spent before this call, by a run that was found finished or unfinished.
    """

    model: Backbone
    folder: Path
    metrics: dict[str, object]
    earlier_seconds: float = 0.0

    @property
    def accuracy(self) -> Accuracy:
        """How many of the held-out images it names."""
        return Accuracy(**{field.name: self.metrics[field.name] for field in dataclasses.fields(Accuracy)})


def fit(
    experiment: Experiment, split: Split, folder: Path, *, data_name: str, num_workers: int = 0, show: bool = True
) -> Fit:
    """Train ``experiment`` on ``split.train``, evaluate on ``split.val``, save everything in ``folder``.

    A finished run of the same settings is loaded instead of repeated; an unfinished one is resumed. What ``experiment``
    leaves open (batch size, steps, warm-up) is chosen to fit the data. The checkpoint holds, beside the weights, the
    settings, the numbers, and the keys of the held-out pictures; what the checkpoint to start from held out is held
    out again.

    Raises:
        ValueError: ``folder`` holds something else, a run with other settings or other data; as ``seeded_model`` and
            ``train``.
        OSError: ``folder`` cannot be written.
    """
    check_output(folder)
    given = experiment.train
    config = given.fitted(len(split.train))
    experiment = dataclasses.replace(experiment, train=config)
    data = {
        "data": data_name,
        "images": len(split.train),
        "classes": split.train.classes,
        "data_hash": data_hash(split.train, split.val),
    }
    settings = plain({**dataclasses.asdict(experiment), **data})
    if finished := finished_run(folder, settings):
        model, record = finished
        if show:
            print(f"already finished: loaded from {folder}")
        remove_states(folder)
        return Fit(model, folder, dict(record.metrics), record.metrics["seconds"])

    model = seeded_model(experiment, tuple(split.train.classes))
    if show and isinstance(model, CRATEMAE):
        print(f"{experiment.start_from}: its encoder learns the classes, its decoder is kept as it is")
    make_output(folder)
    earlier = held_out_of(model) if experiment.start_from else None
    split, again = hold_out_again(split, earlier.held_out if earlier else ())
    if show and again:
        print(f"{again} images that {experiment.start_from} held out are not trained on here either")
    keys = keys_held_out(split)
    images, held_out = read_all(split.train, show=show), read_all(split.val, show=show)
    if show:
        print(plan(given, config, len(images)))
    model.class_names = tuple(images.classes)
    size = scaled_size(model, config.scale)
    model.preprocessing = dataclasses.replace(model.preprocessing, img_size=size, crop_pct=experiment.crop_pct)

    def batches(start_step: int, rank: int, world_size: int):
        return train_loader(
            images,
            model.preprocessing,
            batch_size=config.batch_size,
            steps=config.steps,
            start_step=start_step,
            seed=config.seed,
            augment=Augment(min_area=config.min_area, flip=config.flip) if config.min_area < 1 or config.flip else None,
            num_workers=num_workers,
            rank=rank,
            world_size=world_size,
            sizes=functools.partial(
                training_size,
                img_size=size,
                patch_size=model.patch_size,
                small_until=config.small_until,
                steps=config.steps,
            ),
        )

    result = train(
        model,
        Classification(config.label_smoothing),
        batches,
        config,
        folder,
        steps=config.steps,
        title=experiment.start_from or experiment.model,
        settings={key: settings[key] for key in ("start_from", "crop_pct", *data)},
        show=show,
    )
    score = accuracy(model, eval_loader(held_out, model.preprocessing, batch_size=256, num_workers=num_workers))
    metrics = {
        **dataclasses.asdict(result),
        **dataclasses.asdict(score),
        "training_images": len(images),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    metadata = {"experiment": settings, "metrics": plain(metrics)}
    if keys is not None:
        known = {*keys, *(earlier.held_out if earlier else ())}
        metadata["split"] = plain(HeldOut(how=split.how, divided_here=split.divided_here, held_out=sorted(known)))
    save_checkpoint(model, folder, metadata=metadata)
    remove_states(folder)
    return Fit(load_checkpoint(folder), folder, metrics, result.earlier_seconds)


def seeded_model(experiment: Experiment, classes: tuple[str, ...]) -> Backbone:
    """The model to train, with the same fresh parameters for the same seed; the head of the same classes is kept.

    Raises:
        ValueError: no such model or option; or an option that a checkpoint to start from settles itself.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.train.seed)
        if experiment.start_from is None:
            model = build_model(experiment.model, **{"num_classes": len(classes), **experiment.options})
            if isinstance(model, CRATEMAE):
                raise ValueError(
                    f"{experiment.model} learns by filling in hidden patches, and this training teaches classes: "
                    "choose another model, or start from a trained one"
                )
            return model
        settled = ", ".join(sorted(set(experiment.options) - {"global_pool"}))
        if settled:
            raise ValueError(f"start_from {experiment.start_from} settles {settled}: leave that option out")
        model = load_checkpoint(experiment.start_from)
        if not isinstance(model, Backbone):
            raise ValueError(f"start_from {experiment.start_from} is a language model: give one that takes pictures")
        if model.class_names != classes or experiment.options:
            model.reset_classifier(len(classes), **experiment.options)
        return model


def plan(given: TrainConfig, config: TrainConfig, num_images: int) -> str:
    """What will be done, what of it was chosen to fit the data, and a warning where it is too little to learn from."""
    chosen = [name for name in ("batch_size", "warmup_steps") if getattr(given, name) is None]
    if given.steps is None and given.epochs is None:
        chosen.insert(0, "steps")
    passes = config.steps * config.batch_size / num_images
    words = (
        f"{config.steps:,} steps of {config.batch_size} images, {passes:.1f} passes over {num_images:,} images, "
        f"{config.warmup_steps} steps of warm-up"
    )
    if chosen:
        words += f"; {', '.join(chosen).replace('_', ' ')} chosen to fit so many images"
    if config.steps < ENOUGH_STEPS:
        words += (
            f"\nwarning: {config.steps} steps are too few to learn from: give more, or give neither steps nor epochs"
        )
    return words


def read_all(images: ArrayImages | ImageFolder, *, show: bool) -> ArrayImages | ImageFolder:
    """Small pictures of one size decoded once, to be augmented as batches; others are read as they are needed."""
    if isinstance(images, ArrayImages):
        return images
    with ProgressLine(f"reading {images.root}", len(images), show=show) as line:
        return in_memory(images, progress=line.update)


def data_hash(*sets: ArrayImages | ImageFolder) -> str:
    """16 hex digits that change with labels and keys, or, of pictures in memory, with every eighth row and column."""
    digest = hashlib.sha256()
    for images in sets:
        if isinstance(images, ArrayImages):
            digest.update(images.images[..., ::8, ::8].numpy().tobytes() + images.labels.numpy().tobytes())
        else:
            digest.update(json.dumps([images.keys(), images.labels]).encode())
    return digest.hexdigest()[:16]


def scaled_size(model: Backbone, scale: float) -> tuple[int, int]:
    """Height and width of whole patches, about ``scale`` times those of the model."""
    return tuple(
        max(1, round(scale * side / patch)) * patch
        for side, patch in zip(model.img_size, model.patch_size, strict=True)
    )


def training_size(
    step: int, *, img_size: tuple[int, int], patch_size: tuple[int, int], small_until: float, steps: int
) -> tuple[int, int]:
    """Height and width in pixels at this step: three quarters of the side until ``small_until * steps``."""
    if step >= small_until * steps:
        return img_size
    return tuple(max(1, 3 * side // patch // 4) * patch for side, patch in zip(img_size, patch_size, strict=True))
