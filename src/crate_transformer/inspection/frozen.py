"""Running a model without changing it, batch by batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside the ``with`` block; afterwards the mode of every module is restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def to_model(model: nn.Module, images: Tensor) -> Tensor:
    """Images on the device and with the dtype of the model's parameters."""
    parameter = next(model.parameters())
    return images.to(parameter.device, parameter.dtype, non_blocking=True)


def batches(images: Tensor | Iterable, batch_size: int) -> Iterator[Tensor]:
    """Batches of images from one tensor, or from an iterable of batches or of ``(images, labels)`` pairs."""
    for batch in images.split(batch_size) if isinstance(images, Tensor) else images:
        yield batch if isinstance(batch, Tensor) else batch[0]


def joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What was measured on all batches, by name.

    Raises:
        ValueError: a number is not finite: comparisons with NaN would be false and look like results.
    """
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if not all(np.isfinite(values).all() for values in found.values()):
        raise ValueError(
            "what was measured is not finite: the model's weights or the images contain NaN or infinity, or overflow"
        )
    return found
