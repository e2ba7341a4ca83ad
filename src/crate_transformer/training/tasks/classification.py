"""Supervised classification."""

import dataclasses

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.data import Batch, Source, TrainView, View, eval_loader, mix, one_hot
from crate_transformer.evaluation import Accuracy, AccuracyCounts, accuracy_counts
from crate_transformer.evaluation.several_classes import (
    MeanAveragePrecision,
    logits_and_targets,
    mean_average_precision,
)
from crate_transformer.models import Backbone
from crate_transformer.storage import as_record
from crate_transformer.training.pictures import Normalise
from crate_transformer.training.task import Processes, Progress, Task


class Classification(Task[Backbone, Source]):
    """Cross entropy with label smoothing against the labels of the data, or of their mixtures.

    Of pictures that may have several classes (not ``labelled``, with ``targets``) the mean binary cross entropy of each
    class, whose smoothing goes towards 1/2.
    """

    @property
    def measure(self) -> str:
        return "top1" if self.labelled else "mean_average_precision"

    def __init__(self, config: ClassificationConfig, model: Backbone, augment: AugmentConfig) -> None:
        super().__init__()
        self.config, self.model, self.augment = config, model, augment
        self.normalise = Normalise(model.preprocessing)
        for name, parameter in model.named_parameters():
            if name.startswith(model.not_in_logits) or (config.freeze_backbone and not name.startswith("head.")):
                parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> "Classification":
        super().train(mode)
        if self.config.freeze_backbone:
            self.model.eval()
        return self

    def view(self) -> View:
        return TrainView(self.augment, self.model.preprocessing)

    def forward(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        images, targets = self.inputs(batch, progress)
        return self.loss(self.model(images).float(), targets), {}

    def inputs(self, batch: Batch, progress: Progress) -> tuple[Float[Tensor, "batch 3 height width"], Tensor]:
        """Pictures as the model takes them, and their labels; or mixtures of pictures, and fractions of the classes."""
        self.seed_model(batch, progress)
        images, smoothing = self.normalise(batch["images"]), self.config.label_smoothing
        if not self.labelled:
            targets = batch["targets"].lerp(batch["targets"].new_tensor(0.5), smoothing)
        elif self.augment.mixes:
            targets = one_hot(batch["labels"], self.model.num_classes, smoothing)
        else:
            targets = batch["labels"]
        if not self.augment.mixes:
            return images, targets
        return mix(images, targets, batch["positions"], progress.seed, self.augment)

    def loss(self, logits: Float[Tensor, "batch classes"], targets: Tensor) -> Float[Tensor, ""]:
        """Cross entropy against what ``inputs`` gave."""
        if not self.labelled:
            return F.binary_cross_entropy_with_logits(logits, targets)
        smoothing = 0.0 if targets.is_floating_point() else self.config.label_smoothing
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)

    def evaluate(
        self, model: Backbone, held_out: Source, processes: Processes, *, trained_on: Source, num_workers: int
    ) -> dict[str, object]:
        loader = eval_loader(
            held_out,
            model.preprocessing,
            batch_size=256,
            num_workers=num_workers,
            rank=processes.rank,
            world_size=processes.world_size,
        )
        if not self.labelled:
            parts = processes.gather(logits_and_targets(model, loader))
            return dataclasses.asdict(mean_average_precision(*map(np.concatenate, zip(*parts, strict=True))))
        counts = processes.gather(accuracy_counts(model, loader))
        return dataclasses.asdict(sum(counts, AccuracyCounts()).result())

    @staticmethod
    def describe(numbers: dict[str, object]) -> str:
        kind = Accuracy if "top1" in numbers else MeanAveragePrecision
        return str(as_record(numbers, kind, "the record of the run"))
