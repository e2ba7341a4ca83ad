"""Results are never replaced by those of another run without being told so."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crate_transformer.storage import plain, read_file, read_json, recover

if TYPE_CHECKING:
    from crate_transformer.models import Backbone

SETTINGS = "crate_run.json"
"""What the results beside it were made of; ``data`` knows by this name that pictures in the folder are results."""

_OF_TRAINING = ("metrics.jsonl", "model.safetensors")


def check_output(folder: Path, settings: Mapping[str, object], *, overwrite: bool, writes: Sequence[str]) -> bool:
    """Whether ``folder`` has the results, perhaps unfinished, of a run with the same settings.

    Args:
        settings: everything that the results depend on, by the words that stand for it in a sentence.
        overwrite: results of another run may be replaced.
        writes: files and folders that the command makes, which also tell of results without settings.

    Raises:
        ValueError: it holds the results of another run, which would be lost, or a training run, which could not go on.
    """
    recover(folder)
    if any((folder / name).exists() for name in _OF_TRAINING):
        raise ValueError(f"{folder} holds a training run or a checkpoint: name another --output")
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
        f"{folder} holds the results of another run, {which}: name another --output, or replace them with --overwrite"
    )


def check_source(files: Sequence[Path], described: Path, made_of: Mapping[str, object], *keys: str) -> None:
    """Refuse to replace files that were not made of the same things, so that only the same command replaces them.

    Args:
        described: JSON file that says what those that are there were made of, under nested ``keys``.

    Raises:
        ValueError: one of them exists and was made from something else, or nobody knows from what.
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
    if not isinstance(found, dict) or any(found.get(name, ...) != plain(part, None) for name, part in made_of.items()):
        raise ValueError(_refusal(here))


def check_content(file: Path, content: bytes) -> None:
    """Refuse, with a ``ValueError``, to replace a file by other content."""
    if file.exists() and (file.stat().st_size != len(content) or read_file(file, limit=len(content)) != content):
        raise ValueError(_refusal(file))


def _refusal(file: Path) -> str:
    return f"{file} exists and was made from something else: name another output, or replace it with --overwrite"


def read_settings(folder: Path) -> dict[str, object]:
    """The settings of the results in ``folder``; nothing where there are none to read."""
    try:
        settings = read_json(folder / SETTINGS)
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def checksum(model: "Backbone") -> str:
    """SHA-256 of everything that a model's answers depend on: configuration, preprocessing, names and weights."""
    import torch

    found = hashlib.sha256(repr((type(model).__name__, model.config, model.preprocessing, model.class_names)).encode())
    for name, tensor in model.state_dict().items():
        found.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
