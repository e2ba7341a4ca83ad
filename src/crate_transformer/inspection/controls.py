"""The untrained controls of a model."""

from collections.abc import Iterator

import torch
from torch import nn

from crate_transformer.data import PHOTOGRAPHS, photograph, preprocess
from crate_transformer.models import Backbone, Preprocessing
from crate_transformer.progress import tracked

UNTRAINED_MODELS = 5
"""Number of random initialisations that a model is compared with: above one of them is half of all untrained models."""


def untrained_twin(model: nn.Module, seed: int = 0) -> Backbone:
    """A randomly initialised model of the same class and configuration, in evaluation mode, on the same device and with
    the same dtype. The global random state is not changed.

    Batch norms of a stem have the statistics of the package's photographs: with those of a new one, zero and one, the
    patches would be so small beside the position embeddings that the model hardly saw the image.

    Raises:
        ValueError: it is not a model of this package.
    """
    if not isinstance(model, Backbone):
        raise ValueError(f"this package cannot initialise {type(model).__name__}: give untrained=...")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        twin = type(model)(model.config)  # pyright: ignore[reportCallIssue] -- a family needs no more
        _normalise_photographs(twin, model.preprocessing)
    parameter = next(model.parameters())
    for name in ("preprocessing", "class_names", "exclusive_classes"):
        setattr(twin, name, getattr(model, name))
    return twin.to(parameter.device, parameter.dtype).eval()


@torch.no_grad()
def _normalise_photographs(model: Backbone, preprocessing: Preprocessing) -> None:
    """Set the statistics of the batch norms in the stem, if there are any."""
    if norms := [module for module in model.patch_embed.modules() if isinstance(module, nn.BatchNorm2d)]:
        images = torch.stack([preprocess(photograph(name), preprocessing) for name in PHOTOGRAPHS])
        for norm in norms:
            norm.momentum = 1.0
        model.train().patch_embed(images[:, [channel % 3 for channel in range(model.in_chans)]])
        for norm in norms:
            norm.momentum = 0.1  # PyTorch's


def untrained_twins(model: nn.Module, seed: int = 0, *, show: bool = False) -> Iterator[Backbone]:
    """``UNTRAINED_MODELS`` untrained twins, one at a time; the first has ``seed`` 0 if that is given, and no other seed
    gives one of them again."""
    seeds = range(UNTRAINED_MODELS * seed, UNTRAINED_MODELS * (seed + 1))
    return (untrained_twin(model, each) for each in tracked("untrained models", seeds, len(seeds), show=show))
