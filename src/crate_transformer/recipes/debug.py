"""Shrinking a recipe so that it runs in seconds."""

import dataclasses

from crate_transformer.configs.language import LanguageConfig
from crate_transformer.models import MODELS, canonical_name
from crate_transformer.recipes.experiment import Experiment

STEPS, BATCH_SIZE, DEPTH, WIDTH, HEADS, PATCHES, TOKENS = 2, 48, 2, 32, 2, 2, 32
"""The batch can be divided into pairs, repeats, parts and processes in most ways."""


def shrink(experiment: Experiment) -> Experiment:
    """The same experiment with two steps of 48 images of 2 x 2 patches, or windows of 32 tokens, and two narrow
    blocks.

    Everything else is unchanged: objective, optimiser, augmentation, averaging. The result is meaningless.
    """
    options = {**experiment.options, "depth": DEPTH, "embed_dim": WIDTH, "num_heads": HEADS}
    task = experiment.task
    if isinstance(task, LanguageConfig):
        task = dataclasses.replace(task, context_length=min(task.context_length, TOKENS))
    else:
        config = MODELS[canonical_name(experiment.model)][1]
        rows, columns = _patch(experiment.options.get("patch_size", config.patch_size))
        options["img_size"] = (PATCHES * rows, PATCHES * columns)
    schedule = dataclasses.replace(
        experiment.schedule,
        epochs=None,
        samples=None,
        steps=STEPS,
        batch_size=BATCH_SIZE,
        warmup_steps=1,
        warmup_epochs=None,
    )
    loop = dataclasses.replace(experiment.loop, evaluate_every=None, patience=None)
    return dataclasses.replace(experiment, task=task, options=options, start_from=None, schedule=schedule, loop=loop)


def _patch(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
