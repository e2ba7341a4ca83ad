"""A backbone and a decoder for semantic segmentation."""

from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from crate_transformer.models.backbone import Backbone
from crate_transformer.models.config import BackboneConfig
from crate_transformer.models.depict import DEPICT, DEPICTConfig
from crate_transformer.models.foldable import Foldable
from crate_transformer.models.preprocessing import Preprocessing
from crate_transformer.models.registry import new_backbone


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """Architecture of a segmenter."""

    backbone: BackboneConfig
    decoder: DEPICTConfig

    @property
    def num_classes(self) -> int:
        """Number of classes of a pixel."""
        return self.decoder.num_classes

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Height and width of a patch."""
        return self.backbone.patch_shape


class Segmenter(Foldable, nn.Module):
    """A backbone whose patch tokens, after its norm, go through a DEPICT decoder (arXiv 2411.03033).

    ``class_names`` are the names of the classes of a pixel, the background among them.

    Args:
        backbone: a trained backbone to use instead of a new one; its classifier is removed.
    """

    provenance: Any
    """As in ``Backbone``."""
    exclusive_classes = True

    def __init__(self, config: SegmenterConfig, backbone: Backbone | None = None) -> None:
        super().__init__()
        self.backbone = backbone or new_backbone(config.backbone)
        self.backbone.reset_classifier(0)
        self.config = replace(config, backbone=self.backbone.config)
        self.decoder = DEPICT(self.backbone.embed_dim, config.decoder)
        self.embed_dim, self.patch_size = self.backbone.embed_dim, self.backbone.patch_size
        self.num_classes = config.num_classes
        self.class_names: tuple[str, ...] | None = None
        unused = ("head", *self.backbone.not_in_logits, *self.backbone.not_in_patches)
        self.not_in_logits = tuple(f"backbone.{name}" for name in unused)

    @property
    def preprocessing(self) -> Preprocessing:
        """That of the backbone."""
        return self.backbone.preprocessing

    @preprocessing.setter
    def preprocessing(self, preprocessing: Preprocessing) -> None:
        self.backbone.preprocessing = preprocessing

    @property
    def sample_seeds(self) -> Int64[Tensor, " batch"] | None:
        """Random seeds for each image in training, see ``Backbone``."""
        return self.backbone.sample_seeds

    @sample_seeds.setter
    def sample_seeds(self, seeds: Int64[Tensor, " batch"] | None) -> None:
        self.backbone.sample_seeds = seeds

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Logits of every pixel; images of any size are padded with zeros on the right and at the bottom."""
        height, width = images.shape[-2:]
        rows, columns = self.patch_size
        padded = F.pad(images, (0, -width % columns, 0, -height % rows))
        size = padded.shape[-2:]
        (patches,) = self.backbone.get_intermediate_layers(padded)
        grid = self.backbone.patch_grid(self.decoder(patches), *size)
        return F.interpolate(grid, size, mode="bilinear")[..., :height, :width]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block of the backbone in the backward pass instead of storing its activations."""
        self.backbone.set_grad_checkpointing(enable)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are matrices by shape but not linear maps."""
        return {f"backbone.{name}" for name in self.backbone.no_weight_decay()} | {"decoder.classes"}


def backbone_of(model: nn.Module, name: str) -> Backbone:
    """The model itself, or the backbone of a segmenter, with its provenance.

    Raises:
        ValueError: it is a language model; the message calls it ``name``.
    """
    if isinstance(model, Segmenter):
        if hasattr(model, "provenance"):
            model.backbone.provenance = model.provenance
        return model.backbone
    if not isinstance(model, Backbone):
        raise ValueError(f"{name} is a language model ({type(model).__name__}): give a vision model")
    return model
