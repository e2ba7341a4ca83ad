"""Semantic segmentation, from masks."""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.segmentation import SegmentationConfig
from crate_transformer.data import VOID, Batch, Masked, MaskedView, View, normalise, ordered_loader
from crate_transformer.evaluation.pixel_classes import PixelCounts, PixelScores, class_counts, count_pixels
from crate_transformer.models import Segmenter
from crate_transformer.storage import as_record
from crate_transformer.training.pictures import Normalise
from crate_transformer.training.task import Processes, Progress, Task

_IN_PRIOR = 500  # training masks, evenly spaced


class Segmentation(Task[Segmenter, Masked]):
    """Cross entropy of the pixels that have a class, divided by the number of all pixels, so that the parts of a batch
    add up to the whole; a decoder on a backbone (arXiv 2411.03033)."""

    def __init__(self, config: SegmentationConfig, model: Segmenter, augment: AugmentConfig) -> None:
        super().__init__()
        self.config, self.model, self.augment = config, model, augment
        self.normalise = Normalise(model.preprocessing)
        for name, parameter in model.named_parameters():
            if name.startswith(model.not_in_logits) or (config.freeze_backbone and name.startswith("backbone.")):
                parameter.requires_grad_(False)
        self.prior: Tensor | None = None

    @property
    def measure(self) -> str:
        return "miou"

    def train(self, mode: bool = True) -> "Segmentation":
        super().train(mode)
        if self.config.freeze_backbone:
            self.model.backbone.eval()
        return self

    def view(self) -> View:
        return MaskedView(self.augment, self.model.preprocessing)

    def forward(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        self.seed_model(batch, progress)
        logits, targets = self.model(self.normalise(batch["images"])).float(), batch["masks"].long()
        return F.cross_entropy(logits, targets, ignore_index=VOID, reduction="sum") / targets.numel(), {}

    def evaluate(
        self, model: Segmenter, held_out: Masked, processes: Processes, *, trained_on: Masked, num_workers: int
    ) -> dict[str, object]:
        shares = {"rank": processes.rank, "world_size": processes.world_size}
        if self.prior is None:
            self.prior = position_prior(model, trained_on)
        counts = processes.gather(segmentation_counts(model, held_out, self.prior, num_workers=num_workers, **shares))
        return dataclasses.asdict(sum(counts, PixelCounts.empty(model.num_classes)).scores())

    @staticmethod
    def describe(numbers: dict[str, object]) -> str:
        return str(as_record(numbers, PixelScores, "the record of the run"))


def position_prior(model: Segmenter, trained_on: Masked) -> Tensor:
    """How often each class occurs at each position of at most 500 training masks, at the model's image size."""
    some = trained_on.subset(range(0, len(trained_on), -(-len(trained_on) // _IN_PRIOR)))
    return class_counts((batch["masks"] for batch in _batches(model, some)), model.num_classes)


def segmentation_counts(model: Segmenter, images: Masked, prior: Tensor, **loading: int) -> PixelCounts:
    """The counts of a model and its controls on these images, resized and centre-cropped to the model's image size."""
    pairs = ((normalise(b["images"], model.preprocessing), b["masks"]) for b in _batches(model, images, **loading))
    return count_pixels(model, pairs, prior)


def _batches(model: Segmenter, images: Masked, batch_size: int = 32, **loading: int) -> "torch.utils.data.DataLoader":
    view, size = MaskedView(None, model.preprocessing), model.preprocessing.img_size
    return ordered_loader(images, view, size=size, batch_size=batch_size, **loading)
