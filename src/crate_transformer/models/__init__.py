"""Architectures, one file each, and the registry that lists them."""

from crate_transformer.models.backbone import Backbone
from crate_transformer.models.config import BackboneConfig
from crate_transformer.models.crate import CRATE, CRATEConfig
from crate_transformer.models.preprocessing import Preprocessing
from crate_transformer.models.registry import MODELS, build_model, canonical_name, list_models
from crate_transformer.models.vit import ViT, ViTConfig

__all__ = [
    "CRATE",
    "MODELS",
    "Backbone",
    "BackboneConfig",
    "CRATEConfig",
    "Preprocessing",
    "ViT",
    "ViTConfig",
    "build_model",
    "canonical_name",
    "list_models",
]
