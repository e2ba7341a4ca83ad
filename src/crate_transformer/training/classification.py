"""Supervised classification."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class Classification:
    """Cross entropy with label smoothing; ``loss(model, (images, labels))`` is a scalar."""

    label_smoothing: float = 0.1

    def __call__(
        self, model: nn.Module, batch: tuple[Float[Tensor, "batch channels height width"], Int[Tensor, " batch"]]
    ) -> Float[Tensor, ""]:
        images, labels = batch
        return F.cross_entropy(model(images).float(), labels, label_smoothing=self.label_smoothing)
