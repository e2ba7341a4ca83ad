"""Language models: causal versions of the same blocks."""

from crate_transformer.models.language.causal_crate import CausalCRATE, CausalCRATEConfig
from crate_transformer.models.language.causal_tost import CausalToST, CausalToSTConfig
from crate_transformer.models.language.config import LanguageConfig
from crate_transformer.models.language.language_model import LanguageModel, next_token_loss

__all__ = [
    "CausalCRATE",
    "CausalCRATEConfig",
    "CausalToST",
    "CausalToSTConfig",
    "LanguageConfig",
    "LanguageModel",
    "next_token_loss",
]
