"""Architectures, one file each, and the registry that lists them."""

from crate_transformer.models.aot import AoT, AoTConfig
from crate_transformer.models.backbone import Backbone
from crate_transformer.models.block import Block, EnergyBlock, attention_of
from crate_transformer.models.cbt import CBT, CBTConfig
from crate_transformer.models.config import BackboneConfig, choices
from crate_transformer.models.crate import CRATE, CRATEConfig
from crate_transformer.models.crate_alpha import CRATEAlpha, CRATEAlphaConfig
from crate_transformer.models.crate_hybrid import CRATEHybrid, CRATEHybridConfig
from crate_transformer.models.crate_mae import CRATEMAE, CRATEMAEConfig, Reconstruction
from crate_transformer.models.depict import DEPICT, DEPICTConfig
from crate_transformer.models.hyper_set import HyperSET, HyperSETConfig
from crate_transformer.models.innermost import innermost
from crate_transformer.models.language import (
    CausalCRATE,
    CausalCRATEConfig,
    CausalToST,
    CausalToSTConfig,
    LanguageConfig,
    LanguageModel,
)
from crate_transformer.models.preprocessing import Preprocessing
from crate_transformer.models.recurrent_crate import RecurrentCRATE, RecurrentCRATEConfig
from crate_transformer.models.registry import (
    LANGUAGE_MODELS,
    MODELS,
    build_language_model,
    build_model,
    canonical_name,
    list_models,
    new_backbone,
)
from crate_transformer.models.segmenter import Segmenter, SegmenterConfig, backbone_of
from crate_transformer.models.tost import ToST, ToSTConfig
from crate_transformer.models.vit import ViT, ViTConfig

Model = Backbone | LanguageModel | Segmenter
"""The models that ``load_checkpoint`` returns."""
VisionModel = Backbone | Segmenter
"""Those that take images."""
ModelConfig = BackboneConfig | LanguageConfig | SegmenterConfig
"""Their configurations."""

__all__ = [
    "CBT",
    "CRATE",
    "CRATEHybrid",
    "CRATEHybridConfig",
    "CRATEMAE",
    "LANGUAGE_MODELS",
    "MODELS",
    "AoT",
    "AoTConfig",
    "Backbone",
    "BackboneConfig",
    "Block",
    "EnergyBlock",
    "CBTConfig",
    "CRATEAlpha",
    "CRATEAlphaConfig",
    "CRATEConfig",
    "CRATEMAEConfig",
    "CausalCRATE",
    "CausalCRATEConfig",
    "CausalToST",
    "CausalToSTConfig",
    "DEPICT",
    "DEPICTConfig",
    "HyperSET",
    "HyperSETConfig",
    "LanguageConfig",
    "LanguageModel",
    "Model",
    "ModelConfig",
    "Preprocessing",
    "Reconstruction",
    "RecurrentCRATE",
    "RecurrentCRATEConfig",
    "Segmenter",
    "SegmenterConfig",
    "ToST",
    "ToSTConfig",
    "ViT",
    "ViTConfig",
    "VisionModel",
    "attention_of",
    "backbone_of",
    "build_language_model",
    "build_model",
    "canonical_name",
    "choices",
    "innermost",
    "list_models",
    "new_backbone",
]
