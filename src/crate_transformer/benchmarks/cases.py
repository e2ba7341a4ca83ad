"""What is measured: an implementation or a single layer, its input, and one run."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crate_transformer.benchmarks.cuda_graph import capture
from crate_transformer.benchmarks.implementations import DTYPES, IMPLEMENTATIONS
from crate_transformer.layers import CBSA, MSSA, TSSA, Attention
from crate_transformer.models import MODELS, Backbone, build_model

LAYERS = {"MSSA": MSSA, "TSSA": TSSA, "CBSA": CBSA, "MHSA": Attention}
"""The layers by name; MHSA is the attention of a ViT."""


@dataclass(frozen=True, kw_only=True)
class Case(ABC):
    """The common fields of a case, from which another process can repeat it.

    Args:
        implementation: name of what is measured.
        batch: images per run.
    """

    implementation: str
    task: Literal["inference", "training"]
    precision: Literal["float32", "bf16"]
    batch: int
    threads: int
    device: str

    @abstractmethod
    def build(self) -> nn.Module:
        """The module, ready for the task."""

    @abstractmethod
    def feed(self) -> Tensor:
        """The input of every run."""

    @abstractmethod
    def once(self, module: nn.Module, feed: Tensor) -> None:
        """One forward pass, in training also the backward pass."""

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer | None:
        """The optimiser that takes a step after every run, if the case has one."""
        return None

    def runner(self, module: nn.Module, optimizer: torch.optim.Optimizer | None, feed: Tensor) -> Callable[[], object]:
        """A function that does one run, all of which is measured."""

        def run() -> None:
            torch.set_num_threads(self.threads)
            self.once(module, feed)
            if optimizer is not None:
                optimizer.step()
                optimizer.zero_grad()

        return run

    def same_module(self) -> "Case":
        """The part of the case that is equal for all cases that may share one module."""
        return replace(self, batch=1, threads=1)

    def autocast(self) -> AbstractContextManager:
        """Autocast to the precision of the case."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, DTYPES[self.precision])


@dataclass(frozen=True, kw_only=True)
class ModelCase(Case):
    """A model that classifies images, or takes a training step with AdamW and cross entropy.

    Args:
        heads: number of heads, which changes the width because the size of a head stays; default: as in ``model``.
    """

    model: str
    heads: int | None = None

    def ours(self) -> Backbone:
        """A new model of this package, always with the same random weights."""
        torch.manual_seed(0)
        if self.heads is None:
            return build_model(self.model)
        return build_model(self.model, num_heads=self.heads, embed_dim=self.width)

    @property
    def width(self) -> int:
        """Dimension of a token."""
        config = MODELS[self.model][1]
        return config.embed_dim if self.heads is None else self.heads * (config.embed_dim // config.num_heads)

    def build(self) -> nn.Module:
        implementation = IMPLEMENTATIONS[self.implementation]
        model = implementation.plain(self.ours()).to(self.device)
        return implementation.ready(model, self.task == "training", DTYPES[self.precision])

    def feed(self) -> Tensor:
        """Images of noise in the model's image size."""
        config = MODELS[self.model][1]
        return torch.randn(self.batch, config.in_chans, *config.image_shape, device=self.device)

    def once(self, module: nn.Module, feed: Tensor) -> None:
        if self.task == "inference":
            with torch.no_grad(), self.autocast():
                module(feed)
            return
        with self.autocast():
            loss = F.cross_entropy(module(feed), feed.new_zeros(len(feed), dtype=torch.long))
        loss.backward()

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer | None:
        if self.task == "inference":
            return None
        on_gpu = torch.device(self.device).type == "cuda"
        return torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True, capturable=on_gpu)

    def runner(self, module: nn.Module, optimizer: torch.optim.Optimizer | None, feed: Tensor) -> Callable[[], object]:
        run = super().runner(module, optimizer, feed)
        return capture(run, feed.device) if IMPLEMENTATIONS[self.implementation].captured else run


@dataclass(frozen=True, kw_only=True)
class LayerCase(Case):
    """A single layer: the forward pass, in training also the backward pass to its input and parameters."""

    tokens: int
    dim: int = 384
    heads: int = 6

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        layer = LAYERS[self.implementation](self.dim, self.heads).to(self.device)
        if isinstance(layer, CBSA):
            layer.forward = partial(layer.forward, grid=self.grid)
        return layer

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the tokens, as nearly square as their number allows."""
        rows = max(side for side in range(1, math.isqrt(self.tokens) + 1) if self.tokens % side == 0)
        return rows, self.tokens // rows

    def feed(self) -> Tensor:
        z = torch.randn(self.batch, self.tokens, self.dim, device=self.device)
        return z.requires_grad_(self.task == "training")

    def once(self, module: nn.Module, feed: Tensor) -> None:
        training = self.task == "training"
        with torch.set_grad_enabled(training), self.autocast():
            output = module(feed)
        if training:
            torch.autograd.grad(output, [feed, *module.parameters()], torch.ones_like(output))
