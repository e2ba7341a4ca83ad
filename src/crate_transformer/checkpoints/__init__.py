"""Weights in and out: the package's own format, one strict renaming table per official format, models by name."""

from crate_transformer.checkpoints.loading import load_checkpoint
from crate_transformer.checkpoints.native import save_checkpoint
from crate_transformer.checkpoints.official_crate_demo import released_demo
from crate_transformer.checkpoints.pretrained import create_model, list_pretrained
from crate_transformer.checkpoints.provenance import Provenance
from crate_transformer.checkpoints.writing import write_files

__all__ = [
    "Provenance",
    "create_model",
    "list_pretrained",
    "load_checkpoint",
    "released_demo",
    "save_checkpoint",
    "write_files",
]
