"""A running average of the weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def average_of(model: nn.Module, decay: float) -> AveragedModel:
    r"""An average that follows ``model`` by ``update_parameters``; ``.module`` is a model with these weights.

    .. math:: \bar w \leftarrow d \bar w + (1 - d) w, \qquad d = \min(\text{decay}, (1 + t) / (10 + t))

    after ``t`` updates, so that the first weights are soon forgotten.
    """

    @torch.no_grad()
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        kept = min(decay, (1 + float(updates)) / (10 + float(updates)))
        for old, new in zip(averaged, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new.to(old.dtype), 1 - kept)
            else:
                old.copy_(new)

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    average.requires_grad_(False)
    return average.eval()
