"""Loading and saving weights: the package's own format, official formats, models by name."""

from crate_transformer.checkpoints.card import model_card
from crate_transformer.checkpoints.hub import from_pretrained, push_to_hub
from crate_transformer.checkpoints.loading import load_checkpoint, save_official
from crate_transformer.checkpoints.native import save_checkpoint
from crate_transformer.checkpoints.official_crate_alpha_jax import released_resize
from crate_transformer.checkpoints.official_crate_demo import released_demo
from crate_transformer.checkpoints.pretrained import create_model, list_pretrained
from crate_transformer.checkpoints.provenance import Provenance

__all__ = [
    "Provenance",
    "create_model",
    "from_pretrained",
    "list_pretrained",
    "load_checkpoint",
    "model_card",
    "push_to_hub",
    "released_demo",
    "released_resize",
    "save_checkpoint",
    "save_official",
]
