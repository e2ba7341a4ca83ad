"""Learning from pictures without labels, by agreeing on their crops (SimDINO)."""

import dataclasses
import math
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import functional_call

from crate_transformer.configs import AugmentConfig, MultiCropConfig
from crate_transformer.configs.simdino import SimDINOConfig
from crate_transformer.data import Batch, MultiCropView, Source, View, ordered_loader
from crate_transformer.data.order import SampleRandom
from crate_transformer.inspection import frozen
from crate_transformer.layers.random_numbers import Stream, sample_seeds
from crate_transformer.models import Backbone
from crate_transformer.objective import coding_rate
from crate_transformer.training.gather import gather_features
from crate_transformer.training.pictures import Normalise
from crate_transformer.training.probe import describe_probe, knn_probe
from crate_transformer.training.sharding import whole
from crate_transformer.training.task import Processes, Progress, Task

LARGE = 2
"""Crops that the teacher sees."""


class SimDINO(Task[Backbone, Source]):
    r"""A student agrees with its own average, the teacher, on crops of a picture, while features stay apart.

    .. math:: \mathcal L = -\operatorname{mean}_{s \neq t} \cos\bigl(z_s, \bar z_t\bigr)
        - \gamma \operatorname{mean}_{v} R_\epsilon(Z_v)

    (arXiv 2502.10385.) :math:`z_s` is what the student makes of any crop, :math:`\bar z_t` what the teacher makes of
    one of the two large ones, and :math:`Z_v` holds the student's features of the large crops ``v`` of all pictures of
    the batch, whichever process has them. :math:`\gamma` is :math:`1 / p + 1 / B`, as the released code has it, for
    features of width ``p`` and ``B`` pictures.

    The teacher is what is evaluated and saved, as in the paper: an average over the last steps is better than any one.
    It has no dropout and no batch statistics of its own.
    """

    whole_batches = True

    def __init__(self, config: SimDINOConfig, model: Backbone, augment: AugmentConfig) -> None:
        super().__init__()
        if dataclasses.replace(augment, repeats=1, balanced=False) != AugmentConfig():
            raise ValueError("the crops of simdino are changed as its paper has it: leave the options of augment out")
        self.config, self.model, self.augment = config, model, augment
        self.crops = _crops(config, model)
        if any(self.crops.local_size % side for side in model.patch_size):
            raise ValueError(f"local_size is {config.local_size}: give a multiple of the patch, {model.patch_size}")
        self.normalise = Normalise(model.preprocessing)
        for name, parameter in model.named_parameters():
            if name.startswith(model.not_in_logits):
                parameter.requires_grad_(False)
        self.projection = Projection(model.embed_dim, config.hidden_dim, config.feature_dim)
        self.teacher, self.teacher_projection = deepcopy(model), deepcopy(self.projection)
        for module in (self.teacher, self.teacher_projection):
            module.requires_grad_(False).eval()

    @property
    def measure(self) -> str:
        return "knn_model" if self.labelled else "held_out_loss"

    @property
    def higher_is_better(self) -> bool:
        return self.labelled

    @property
    def exported(self) -> Backbone:
        return self.teacher

    def train(self, mode: bool = True) -> "SimDINO":
        super().train(mode)
        self.teacher.eval()
        return self

    def view(self) -> View:
        return MultiCropView(self.crops, self.model.preprocessing)

    def compile_model(self) -> None:
        self.model.compile(dynamic=False)
        self.teacher.compile(dynamic=False)

    def forward(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        large, small = self.normalise(batch["global_crops"]), self.normalise(batch["local_crops"])
        seeds = crop_seeds(progress.seed, batch["positions"], LARGE + small.shape[1])
        student = torch.cat([self._student(large, seeds[:, :LARGE]), self._student(small, seeds[:, LARGE:])])
        with torch.no_grad():
            teacher = crop_features(self.teacher, self.teacher_projection, large)
        return self._loss(student, teacher, [gather_features(view) for view in student[:LARGE]])

    def _student(
        self, crops: Float[Tensor, "batch crops 3 height width"], seeds: Int64[Tensor, "batch crops"]
    ) -> Float[Tensor, "crops batch dim"]:
        self.model.sample_seeds = seeds.T.flatten()
        return crop_features(self.model, self.projection, crops)

    def _loss(
        self,
        student: Float[Tensor, "crops batch dim"],
        teacher: Float[Tensor, "large batch dim"],
        views: Sequence[Float[Tensor, "all_batches dim"]] | Float[Tensor, "large all_batches dim"],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        similarity = agreement(student, teacher)
        rate = torch.stack([coding_rate(view, epsilon_squared=self.config.epsilon_squared) for view in views]).mean()
        batch, dim = views[0].shape
        weight = self.config.rate_weight or 1 / dim + 1 / batch
        spread = 1 - torch.stack([view.mean(dim=0).square().sum() for view in views]).mean()
        numbers = {"similarity": similarity, "coding_rate": rate, "spread": spread}
        return -similarity - weight * rate, numbers

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        step = (1 - self.config.momentum) * (1 + math.cos(math.pi * progress.fraction)) / 2
        pairs = ((self.teacher, self.model), (self.teacher_projection, self.projection))
        for teacher, student in pairs:
            for kept, new in zip(teacher.parameters(), student.parameters(), strict=True):
                kept.lerp_(new, step)
            for kept, new in zip(teacher.buffers(), student.buffers(), strict=True):
                kept.copy_(new)

    def evaluate(
        self, model: Backbone, held_out: Source, processes: Processes, *, trained_on: Source, num_workers: int
    ) -> dict[str, object]:
        found = knn_probe(model, trained_on, held_out, processes, num_workers=num_workers)
        return {**found, "held_out_loss": self._held_out_loss(model, held_out, processes, num_workers)}

    def _held_out_loss(self, model: Backbone, held_out: Source, processes: Processes, num_workers: int) -> float:
        """The loss of the teacher against itself, on the same crops each time."""
        loader = ordered_loader(
            held_out,
            SameCrops(self.view()),
            size=model.preprocessing.img_size,
            batch_size=256,
            num_workers=num_workers,
            rank=processes.rank,
            world_size=processes.world_size,
        )
        weights = {name: whole(tensor) for name, tensor in self.teacher_projection.state_dict().items()}
        device, found = self.normalise.mean.device, []
        with frozen(model):
            for batch in loader:
                crops = (self.normalise(batch[name].to(device)) for name in ("global_crops", "local_crops"))
                parts = [crop_features(model, self.teacher_projection, part, weights).cpu() for part in crops]
                found.append(torch.cat(parts))
        every = torch.cat([features for parts in processes.gather(found) for features in parts], dim=1)
        return float(self._loss(every, every[:LARGE], every[:LARGE])[0])

    @staticmethod
    def describe(numbers: dict[str, object]) -> str:
        return f"held-out loss {numbers['held_out_loss']:.4f}{describe_probe(numbers)}"


class Projection(nn.Sequential):
    """An MLP with two hidden layers; its outputs have length 1 (DINO, arXiv 2104.14294)."""

    def __init__(self, dim: int, hidden_dim: int, feature_dim: int) -> None:
        widths = ((dim, hidden_dim), (hidden_dim, hidden_dim), (hidden_dim, feature_dim))
        first, second, third = (nn.Linear(*pair) for pair in widths)
        super().__init__(first, nn.GELU(), second, nn.GELU(), third)
        self.feature_dim = feature_dim
        for layer in (first, second, third):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, input: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch feature_dim"]:
        return F.normalize(super().forward(input).float(), dim=-1)


@dataclasses.dataclass(frozen=True)
class SameCrops:
    """A view whose random numbers are those of the picture's index."""

    view: View

    def __call__(
        self, source: Source, index: int, random: np.random.Generator | None, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        return self.view(source, index, SampleRandom(0)(index), size)


def crop_features(
    model: Backbone,
    projection: Projection,
    crops: Float[Tensor, "batch crops 3 height width"],
    weights: dict[str, Tensor] | None = None,
) -> Float[Tensor, "crops batch feature_dim"]:
    """What is compared of each crop; ``weights`` stand in for those of the projection."""
    batch, number = crops.shape[:2]
    if not number:
        return crops.new_zeros(0, batch, projection.feature_dim)
    pooled = model(crops.transpose(0, 1).flatten(0, 1))
    found = projection(pooled) if weights is None else functional_call(projection, weights, (pooled,))
    return found.view(number, batch, -1)


def agreement(
    student: Float[Tensor, "crops batch dim"], teacher: Float[Tensor, "large batch dim"]
) -> Float[Tensor, ""]:
    """The mean cosine of features of length 1 of different crops; those of ``teacher`` are the first of ``student``."""
    cosines = torch.einsum("sbd,tbd->st", student, teacher) / student.shape[1]
    large = len(teacher)
    return (cosines.sum() - cosines[:large].trace()) / (cosines.numel() - large)


def crop_seeds(seed: int, positions: Int64[Tensor, " batch"], crops: int) -> Int64[Tensor, "batch {crops}"]:
    """A seed for each crop of each picture."""
    places = positions[:, None] * crops + torch.arange(crops, device=positions.device)
    return sample_seeds(seed, places.flatten(), Stream.MODEL).view(len(positions), crops)


def _crops(config: SimDINOConfig, model: Backbone) -> MultiCropConfig:
    """The crops of the paper; the blur, which is stated for images of 224 pixels, is in proportion to the size."""
    crops = MultiCropConfig(local_crops=config.local_crops, local_size=config.local_size or _small(model))
    radius = max(0.1, crops.first.blur_radius * min(model.preprocessing.img_size) / 224)
    kinds = {name: getattr(crops, name) for name in ("first", "second", "local")}
    return dataclasses.replace(
        crops, **{name: dataclasses.replace(kind, blur_radius=radius) for name, kind in kinds.items()}
    )


def _small(model: Backbone) -> int:
    """About 3/7 of the side of a large crop, 96 of 224 pixels, in whole patches."""
    patch = math.lcm(*model.patch_size)
    return max(1, round(3 / 7 * min(model.preprocessing.img_size) / patch)) * patch
