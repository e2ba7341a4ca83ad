"""What an experiment is, and how it is run: the one place where data, training, evaluation and checkpoints meet."""

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.data import ArrayImages, Augment, ImageFolder, eval_loader, train_loader
from crate_transformer.evaluation import accuracy
from crate_transformer.models import Backbone, build_model
from crate_transformer.storage import plain, write_json
from crate_transformer.training.classification import Classification
from crate_transformer.training.config import TrainConfig
from crate_transformer.training.loop import train
from crate_transformer.training.state import changed_settings, remove_states


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
    """A trained model and its numbers: ``top1`` and ``top5`` are fractions of the held-out images.

    ``earlier_seconds`` of training were spent before this call, by a run that was found finished or unfinished.
    """

    model: Backbone
    folder: Path
    metrics: dict[str, object]
    earlier_seconds: float = 0.0


def fit(
    experiment: Experiment,
    images: ArrayImages | ImageFolder,
    held_out: ArrayImages | ImageFolder,
    folder: Path,
    *,
    data_name: str,
    num_workers: int = 0,
    show: bool = True,
) -> Fit:
    """Train ``experiment`` on ``images``, evaluate on ``held_out``, save everything in ``folder``.

    A finished run of the same settings is loaded instead of repeated; an unfinished one is resumed.

    Raises:
        ValueError: ``folder`` holds a run with other settings or other data; as ``seeded_model`` and ``train``.
    """
    config = experiment.train
    steps = config.num_steps(len(images))
    data = {
        "data": data_name,
        "images": len(images),
        "classes": images.classes,
        "data_hash": data_hash(images, held_out),
    }
    settings = plain({**dataclasses.asdict(experiment), **data})
    finished = folder / "run.json"
    if finished.is_file():
        saved = json.loads(finished.read_text(encoding="utf-8"))
        if changed := changed_settings(saved["settings"], settings):
            raise ValueError(
                f"{folder} holds a finished run with other settings ({', '.join(changed)}): "
                "repeat its settings to load it, choose another output folder, or remove this one"
            )
        if show:
            print(f"already finished: loaded from {folder}")
        return Fit(load_checkpoint(folder), folder, saved["metrics"], saved["metrics"]["seconds"])

    model = seeded_model(experiment, tuple(images.classes))
    model.class_names = tuple(images.classes)
    size = scaled_size(model, config.scale)
    model.preprocessing = dataclasses.replace(model.preprocessing, img_size=size, crop_pct=experiment.crop_pct)

    def batches(start_step: int, rank: int, world_size: int):
        return train_loader(
            images,
            model.preprocessing,
            batch_size=config.batch_size,
            steps=steps,
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
                steps=steps,
            ),
        )

    result = train(
        model,
        Classification(config.label_smoothing),
        batches,
        config,
        folder,
        steps=steps,
        title=experiment.start_from or experiment.model,
        settings={key: settings[key] for key in ("start_from", "crop_pct", *data)},
        show=show,
    )
    score = accuracy(model, eval_loader(held_out, model.preprocessing, batch_size=256, num_workers=num_workers))
    metrics = {
        **dataclasses.asdict(result),
        "top1": score.top1,
        "top5": score.top5,
        "held_out_images": score.count,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    save_checkpoint(model, folder, metadata={"experiment": settings, "metrics": metrics})
    write_json(finished, {"settings": settings, "metrics": metrics})
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
            return build_model(experiment.model, **{"num_classes": len(classes), **experiment.options})
        settled = ", ".join(sorted(set(experiment.options) - {"global_pool"}))
        if settled:
            raise ValueError(f"start_from {experiment.start_from} settles {settled}: leave that option out")
        model = load_checkpoint(experiment.start_from)
        if not isinstance(model, Backbone):
            raise ValueError(f"start_from {experiment.start_from} is a language model: give one that takes pictures")
        if model.class_names != classes or experiment.options:
            model.reset_classifier(len(classes), **experiment.options)
        return model


def data_hash(*sets: ArrayImages | ImageFolder) -> str:
    """16 hex digits that change with labels and names, or, of pictures in memory, with every eighth row and column."""
    digest = hashlib.sha256()
    for images in sets:
        if isinstance(images, ArrayImages):
            digest.update(images.images[..., ::8, ::8].numpy().tobytes() + images.labels.numpy().tobytes())
        else:
            digest.update(json.dumps([images.names, images.labels]).encode())
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
