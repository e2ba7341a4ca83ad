"""Learning from another model's answers."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.distillation import DistillationConfig
from crate_transformer.data import Batch
from crate_transformer.models import Backbone, Preprocessing
from crate_transformer.training.pictures import Normalise
from crate_transformer.training.task import Progress
from crate_transformer.training.tasks.classification import Classification


@dataclass(frozen=True, eq=False)
class Teacher:
    """A frozen model of any kind, asked about pixels in [0, 1]; it is no part of the task, so no state holds it.

    Args:
        logits: maps pictures as ``preprocessing`` prepares them to logits.
        columns: where each class of the data stands in these.
        digest: of the weights.
    """

    logits: Callable[[Float[Tensor, "batch 3 rows columns"]], Float[Tensor, "batch known"]]
    preprocessing: Preprocessing
    columns: tuple[int, ...]
    digest: str = ""

    @torch.no_grad()
    def __call__(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Logits of the classes of the data, for pictures brought to the teacher's own size and normalisation."""
        wanted = self.preprocessing
        if pixels.shape[-2:] != wanted.img_size:
            pixels = F.interpolate(pixels, wanted.img_size, mode=wanted.interpolation, antialias=True)
        mean, std = (pixels.new_tensor(values).view(3, 1, 1) for values in (wanted.mean, wanted.std))
        return self.logits((pixels - mean) / std)[:, list(self.columns)].float()


class Distillation(Classification):
    r"""The teacher's answers, softened by a temperature ``T``, and the labels.

    .. math:: \mathcal L = (1 - w)\, T^2\, \mathrm{KL}\bigl(\mathrm{softmax}(t / T) \,\|\, \mathrm{softmax}(s / T)\bigr)
        + w\, \mathrm{CE}(s, y)

    (arXiv 1503.02531.) Both see the same crop, mixed with another where the augmentation says so.
    """

    def __init__(self, config: DistillationConfig, model: Backbone, augment: AugmentConfig, teacher: Teacher) -> None:
        super().__init__(config, model, augment)
        self.temperature, self.label_weight, self.teacher = config.temperature, config.label_weight, teacher

    @property
    def fingerprint(self) -> dict[str, object]:
        told = (self.teacher.digest, self.teacher.preprocessing, self.teacher.columns)
        return {"content of the teacher": sha256(repr(told).encode()).hexdigest()}

    def forward(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        if not self.labelled:
            raise ValueError("a teacher's answers are about one class a picture, and these pictures may have several")
        images, targets = self.inputs(batch, progress)
        logits, temperature = self.model(images).float(), self.temperature
        answers = self.teacher(undo(self.normalise, images))
        student, teacher = (values.div(temperature).log_softmax(dim=1) for values in (logits, answers))
        softened = temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        labels = self.loss(logits, targets)
        agreed = (logits.argmax(dim=1) == answers.argmax(dim=1)).float().mean()
        weight = self.label_weight
        return (1 - weight) * softened + weight * labels, {"teacher_loss": softened, "agrees_with_teacher": agreed}


def undo(normalise: Normalise, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Normalised pictures as pixels in [0, 1]."""
    return images * normalise.std + normalise.mean
