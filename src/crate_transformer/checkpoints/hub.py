"""Weights to and from the Hugging Face hub: the same folder that ``save_checkpoint`` writes, with a model card."""

import dataclasses
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

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
    metadata: Mapping[str, object] | None = None,
    dtype: torch.dtype | None = None,
    private: bool | None = None,
    token: str | None = None,
    message: str = "Upload with crate-transformer",
) -> str:
    """Write the model into a repository of the hub, made if absent, in one commit; the address of the commit.

    Args:
        repo_id: ``owner/name``.
        model_card: text of ``README.md``; unless given it tells architecture, ``metadata``, preprocessing, provenance.
        metadata: numbers and facts to store with the weights; those they were loaded with unless given.
        dtype: floating-point type of the stored tensors; the model's own if not given.
        private: visibility of a new repository; the owner's default if not given.
        token: the one that ``hf auth login`` stored if not given.

    Raises:
        ValueError: ``repo_id`` is not of the form ``owner/name``, or something cannot be stored.
        OSError: the hub refuses or cannot be reached.
    """
    import huggingface_hub

    if not is_hub_id(repo_id):
        raise ValueError(f"{repo_id!r} is no hub id: give owner/name")
    model = innermost(model)
    if metadata is None:
        metadata = getattr(getattr(model, "provenance", None), "metadata", {})
    card = describe(model, repo_id, metadata) if model_card is None else model_card
    hub = huggingface_hub.HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(model, folder, model_card=card, metadata=dict(metadata), dtype=dtype)
        try:
            hub.create_repo(repo_id, private=private, exist_ok=True)
            return hub.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message).commit_url
        except Exception as error:  # of the hub, of its network library, of Python
            reason = " ".join(str(error).split()) or type(error).__name__
            raise OSError(f"{repo_id} could not be written on the Hugging Face hub: {reason}") from error


def from_pretrained(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    **hints: object,
) -> Model:
    """The model that ``push_to_hub`` wrote, in evaluation mode; ``load_checkpoint("owner/name")`` is its short form.

    Args:
        revision: branch, tag or commit; the main branch if not given.
        hints: as for ``load_checkpoint``; here they can only confirm.

    Raises:
        FileNotFoundError: there is no such repository or revision, or it cannot be reached.
        ValueError: it holds no checkpoint of this package.
    """
    import huggingface_hub

    given = {"revision": revision, "token": token, "cache_dir": cache_dir}
    options = {name: value for name, value in given.items() if value is not None}
    try:
        folder = Path(huggingface_hub.snapshot_download(repo_id, allow_patterns=[WEIGHTS, CONFIG, CARD], **options))
    except (OSError, ValueError) as error:  # every error of the hub is one of them
        raise FileNotFoundError(
            f"{repo_id} is no local path and could not be fetched from the Hugging Face hub ({type(error).__name__}): "
            "check the name and the network"
        ) from error
    model = load_native(folder, hints)
    model.provenance = dataclasses.replace(model.provenance, source=f"the hub: {repo_id} at {folder.name}")
    return model
