"""Results of another run are replaced only with ``--overwrite``."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crate_transformer.storage import plain, read_file, read_json, recover

if TYPE_CHECKING:
    from crate_transformer.models import VisionModel

SETTINGS = "crate_run.json"
"""Settings of the results in the same folder; by this name ``data`` recognises images in the folder as results."""

_OF_TRAINING = ("metrics.jsonl", "model.safetensors")


def check_output(folder: Path, settings: Mapping[str, object], *, overwrite: bool, writes: Sequence[str]) -> bool:
    """Whether ``folder`` contains the (perhaps unfinished) results of a run with the same settings.

    Args:
        settings: everything that the results depend on; the keys appear in the error message.
        overwrite: results of another run may be replaced.
        writes: files and folders that the command writes; they also reveal results without settings.

    Raises:
        ValueError: it contains the results of another run, a training run or a checkpoint.
    """
    recover(folder)
    if any((folder / name).exists() for name in _OF_TRAINING):
        raise ValueError(f"{folder} contains a training run or a checkpoint: choose another --output")
    here = [name for name in (SETTINGS, *writes) if (folder / name).exists()]
    if not here:
        return False
    before = read_settings(folder)
    differ = [name for name in settings if before.get(name, ...) != plain(settings[name])]
    if before and not differ:
        return True
    if overwrite:
        return False
    which = f"made with different settings ({', '.join(differ).replace('_', ' ')})" if before else f"such as {here[-1]}"
    raise ValueError(
        f"{folder} contains the results of another run, {which}: choose another --output, or replace them with "
        "--overwrite"
    )


def check_source(files: Sequence[Path], described: Path, made_of: Mapping[str, object], *keys: str) -> None:
    """Refuse to replace files that were made from something else, so that only the same command replaces them.

    Args:
        described: JSON file that says what the existing files were made from, under nested ``keys``.

    Raises:
        ValueError: one of them exists and was made from something else, or its origin is unknown.
    """
    recover(described.parent)
    here = next((file for file in files if file.exists()), None)
    if here is None:
        return
    try:
        found = read_json(described)
        for key in keys:
            found = found[key]
    except (OSError, ValueError, LookupError, TypeError):
        found = None
    known = found if isinstance(found, dict) else {}
    if any(name not in known or plain(known[name]) != plain(part) for name, part in made_of.items()):  # files round
        raise ValueError(_refusal(here))


def check_content(file: Path, content: bytes) -> None:
    """Raise ``ValueError`` if the file exists with other content."""
    if file.exists() and (file.stat().st_size != len(content) or read_file(file, limit=len(content)) != content):
        raise ValueError(_refusal(file))


def _refusal(file: Path) -> str:
    return f"{file} exists and was made from something else: choose another output, or replace it with --overwrite"


def read_settings(folder: Path) -> dict[str, object]:
    """The settings of the results in ``folder``; empty if there are none."""
    try:
        settings = read_json(folder / SETTINGS)
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def checksum(model: "VisionModel") -> str:
    """SHA-256 of everything that a model's outputs depend on: configuration, preprocessing, class names, weights."""
    import torch

    found = hashlib.sha256(repr((type(model).__name__, model.config, model.preprocessing, model.class_names)).encode())
    for name, tensor in model.state_dict().items():
        found.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
