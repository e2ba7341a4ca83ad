"""What the training loop costs beside forward pass, backward pass and optimiser.

python benchmarks/loop_overhead.py [--steps 200] [--batch-size 64] [--optimizer adamw] [--profile]

crate_micro_patch4_32 on 20,000 pictures of 32 x 32 pixels in memory, float32, one thread, without augmentation and
average of the weights. Steps of the ``Trainer`` (order, loading, normalising, clipping, learning rate, looking for
numbers that are not finite, log) take turns with bare steps of a copy on a batch that is ready: model, loss,
``backward``, ``step``, ``zero_grad``. What counts is the processor's time, so that other work on the machine disturbs
less. Prints medians in milliseconds, also that of the differences of neighbours, and how much of a step of the
loop that is.
"""

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import FittedSchedule
from crate_transformer.data import ArrayImages, Order, train_loader
from crate_transformer.models import build_model
from crate_transformer.training.optimisers import build_optimizers
from crate_transformer.training.precision import choose_products
from crate_transformer.training.processes import Processes
from crate_transformer.training.task import Batch
from crate_transformer.training.tasks.classification import Classification
from crate_transformer.training.trainer import Trainer

IMAGES, CLASSES, WARM_UP = 20_000, 10, 10


def main() -> None:
    """Two medians and a share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--profile", action="store_true", help="also print where the loop's steps take their time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, CLASSES, (IMAGES,), generator=generator)
    images = ArrayImages(pictures, labels, tuple(map(str, range(CLASSES))))
    model = build_model("crate_micro_patch4_32", num_classes=CLASSES)
    model.preprocessing = replace(model.preprocessing, crop_pct=1.0)  # as every run has it unless told otherwise
    task = Classification(ClassificationConfig(), model, AugmentConfig(min_area=1.0, flip=False))
    optimiser = OptimiserConfig(optimizer=options.optimizer)
    bare, loop = Bare(deepcopy(task), optimiser), []
    profile = cProfile.Profile(time.process_time) if options.profile else None

    def batches(start: int) -> Iterator[Batch]:
        loader = iter(
            train_loader(
                images,
                task.view(),
                size=(32, 32),
                batch_size=options.batch_size,
                steps=options.steps + 1,
                start_step=start,
                order=Order(len(images), 0, options.batch_size),
            )
        )
        for _ in range(options.steps + 1):
            began = time.process_time()
            if profile:
                profile.enable()
            batch = next(loader)
            yield batch
            if profile:
                profile.disable()
            loop.append(time.process_time() - began)
            bare.step(batch)

    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            task,
            Path(folder),
            optimiser=optimiser,
            schedule=FittedSchedule(steps=options.steps + 1, batch_size=options.batch_size, warmup_steps=10),
            loop=LoopConfig(precision="float32"),
            execution=ExecutionConfig(checkpoint_every=10**9),
            processes=Processes(),
            show=False,
        ).run(batches)
    ours, plain = (1000 * np.array(times[WARM_UP:]) for times in (loop, bare.seconds))
    more, step = np.median(ours - plain), np.median(ours)
    print(f"bare step {np.median(plain):.2f} ms, step of the loop {step:.2f} ms, {more:.2f} ms more: {more / step:.1%}")
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)


class Bare:
    """A training loop of five lines, on a copy of the task's model."""

    def __init__(self, task: Classification, optimiser: OptimiserConfig) -> None:
        self.task, self.seconds = task, []
        self.optimizers = build_optimizers(task, optimiser, choose_products(torch.device("cpu")))

    def step(self, batch: Batch) -> None:
        images, labels = self.task.normalise(batch["images"]), batch["labels"]
        began = time.process_time()
        F.cross_entropy(self.task.model(images), labels, label_smoothing=0.1).backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.seconds.append(time.process_time() - began)


if __name__ == "__main__":
    main()
