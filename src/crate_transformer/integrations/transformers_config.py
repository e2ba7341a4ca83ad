"""The transformers configuration of our models."""

from dataclasses import fields
from typing import Any

from transformers import PreTrainedConfig

from crate_transformer.checkpoints.native import FAMILIES
from crate_transformer.models import Backbone, Preprocessing, new_backbone
from crate_transformer.storage import as_record

NAMES = {
    "img_size": "image_size",
    "in_chans": "num_channels",
    "embed_dim": "hidden_size",
    "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads",
}
"""Field of our configurations -> its name in transformers; the other names are the same."""


class CrateConfig(PreTrainedConfig):
    """A transformers configuration for any model of this package; the defaults are ``crate_small_patch16_224``.

    Args:
        family: name of the model class, such as ``"CRATE"`` or ``"ViT"``. Options of the family (``step_size``,
            ``mlp_ratio``) and of every backbone (``global_pool``, ``drop_path_rate``) are further keyword arguments.
        preprocessing: the fields of ``Preprocessing``, which belong to the weights.
    """

    model_type = "crate"

    def __init__(
        self,
        family: str = "CRATE",
        image_size: int | list[int] | tuple[int, int] = 224,
        patch_size: int | list[int] | tuple[int, int] = 16,
        num_channels: int = 3,
        hidden_size: int = 576,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        preprocessing: dict | None = None,
        **kwargs: Any,
    ) -> None:
        self.family = family
        self.image_size, self.patch_size, self.num_channels = image_size, patch_size, num_channels
        self.hidden_size, self.num_hidden_layers = hidden_size, num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.preprocessing = preprocessing
        super().__init__(**kwargs)

    def build(self, num_classes: int) -> Backbone:
        """A new model with this configuration.

        Raises:
            ValueError: the family is unknown, or the configuration is invalid.
        """
        if self.family not in FAMILIES:
            raise ValueError(f"there is no model family {self.family!r}; choose one of {', '.join(FAMILIES)}")
        _, config_class = FAMILIES[self.family]
        given = {field.name: getattr(self, NAMES.get(field.name, field.name), None) for field in fields(config_class)}
        given = {name: value for name, value in given.items() if value is not None} | {"num_classes": num_classes}
        model = new_backbone(as_record(given, config_class, f"the configuration of a {self.family}"))
        if self.preprocessing:
            model.preprocessing = as_record(self.preprocessing, Preprocessing, "the configuration's preprocessing")
        return model
