"""Uploading and downloading weights with the Hugging Face hub, in the format of ``save_checkpoint``."""

import dataclasses
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from crate_transformer.checkpoints.card import model_card as describe
from crate_transformer.checkpoints.native import CARD, CONFIG, WEIGHTS, load_native, save_checkpoint
from crate_transformer.models import Model, innermost


def is_hub_id(name: str) -> bool:
    """Whether ``name`` looks like ``owner/name``."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None


def push_to_hub(
    model: nn.Module,
    repo_id: str,
    *,
    model_card: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    private: bool | None = None,
    token: str | None = None,
    message: str = "Upload with crate-transformer",
) -> str:
    """Upload the model to a hub repository in one commit, creating the repository if needed; returns the commit URL.

    Args:
        repo_id: ``owner/name``.
        model_card: text of ``README.md``; default: architecture, ``metadata``, preprocessing and provenance.
        metadata: metrics and facts to store with the weights; default: those the model was loaded with.
        dtype: dtype of the stored tensors; default: that of the model.
        private: visibility of a new repository; default: the owner's default.
        token: access token; default: the one stored by ``hf auth login``.

    Raises:
        ValueError: ``repo_id`` is not of the form ``owner/name``, or something cannot be stored.
        OSError: the hub refuses the upload or cannot be reached.
    """
    import huggingface_hub

    if not is_hub_id(repo_id):
        raise ValueError(f"{repo_id!r} is not a hub id: give owner/name")
    model = innermost(model)
    known = model.provenance.metadata if hasattr(model, "provenance") else {}
    told: Mapping[str, Any] = known if metadata is None else metadata
    card = describe(model, repo_id, told) if model_card is None else model_card
    hub = huggingface_hub.HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(model, folder, model_card=card, metadata=dict(told), dtype=dtype)
        try:
            hub.create_repo(repo_id, private=private, exist_ok=True)
            return hub.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message).commit_url
        except Exception as error:  # from the hub, its network library or Python
            reason = " ".join(str(error).split()) or type(error).__name__
            raise OSError(f"{repo_id} could not be uploaded to the Hugging Face hub: {reason}") from error


def from_pretrained(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    **hints: Any,
) -> Model:
    """A model uploaded by ``push_to_hub``, in evaluation mode; ``load_checkpoint("owner/name")`` is the short form.

    Args:
        revision: branch, tag or commit; default: the main branch.
        hints: as for ``load_checkpoint``; they are only checked against the configuration.

    Raises:
        FileNotFoundError: there is no such repository or revision, or it cannot be reached.
        ValueError: it does not contain a checkpoint of this package.
    """
    import huggingface_hub

    given = {"revision": revision, "token": token, "cache_dir": cache_dir}
    options = {name: value for name, value in given.items() if value is not None}
    try:
        folder = Path(huggingface_hub.snapshot_download(repo_id, allow_patterns=[WEIGHTS, CONFIG, CARD], **options))
    except (OSError, ValueError) as error:  # covers every error of the hub
        raise FileNotFoundError(
            f"{repo_id} is not a local path and could not be downloaded from the Hugging Face hub "
            f"({type(error).__name__}): check the name and the network"
        ) from error
    model = load_native(folder, hints)
    model.provenance = dataclasses.replace(model.provenance, source=f"the hub: {repo_id} at {folder.name}")
    return model
