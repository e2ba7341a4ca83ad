"""This package's own checkpoints: a folder with ``model.safetensors``, ``config.json`` and perhaps a ``README.md``."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

import crate_transformer
from crate_transformer.checkpoints.assemble import assemble
from crate_transformer.checkpoints.official import settle
from crate_transformer.checkpoints.provenance import Provenance
from crate_transformer.checkpoints.reading import read_tensors
from crate_transformer.models import LANGUAGE_MODELS, MODELS, Backbone, Model, Preprocessing
from crate_transformer.storage import recover, write_files

FORMAT = "crate-transformer"
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FAMILIES = {model_class.__name__: (model_class, type(config)) for model_class, config in MODELS.values()}
LANGUAGE_FAMILIES = {kind.__name__: (kind, type(config)) for kind, config in LANGUAGE_MODELS.values()}


def save_checkpoint(
    model: Model,
    folder: str | Path,
    *,
    model_card: str | None = None,
    metadata: dict | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write weights, configuration, preprocessing and class names into a folder, whole or not at all.

    Args:
        model_card: text of the folder's ``README.md``.
        metadata: what to remember about the weights (recipe, accuracy); anything that JSON can hold.
        dtype: floating-point type on disk, such as ``torch.bfloat16`` for half the size; the model's own if not given.

    Raises:
        ValueError: ``metadata`` or ``class_names`` cannot be stored.
        OSError: the folder cannot be written, for example on a full disk; an older checkpoint there stays whole.
    """
    if getattr(model, "folded", False):
        raise ValueError("a folded model is for inference only: save the model that it was made from")
    about_pictures = _about_pictures(model) if isinstance(model, Backbone) else {}
    tensors = {
        name: t.detach().to("cpu", dtype if t.is_floating_point() else None).contiguous()
        for name, t in model.state_dict().items()
    }
    description = {
        "format": FORMAT,
        "format_version": 1,
        "package_version": crate_transformer.__version__,
        "family": type(model).__name__,
        "config": dataclasses.asdict(model.config),
        **about_pictures,
        "metadata": metadata or {},
    }
    try:
        text = json.dumps(description, indent=2, ensure_ascii=False)
    except TypeError as error:
        raise ValueError(f"metadata cannot be written as JSON: {error}") from error
    files = {WEIGHTS: lambda path: _write_weights(tensors, path), CONFIG: f"{text}\n".encode()}
    if model_card is not None:
        files[CARD] = model_card.encode()
    return write_files(folder, files)


def load_native(folder: Path, hints: Mapping[str, object]) -> Model:
    """Read what ``save_checkpoint`` wrote. Hints can only confirm what the configuration says."""
    recover(folder)
    config_file, weights_file = folder / CONFIG, folder / WEIGHTS
    for file in (config_file, weights_file):
        if not file.is_file():
            raise ValueError(f"{folder} is no checkpoint: it has no {file.name}")
    try:
        description = json.loads(config_file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{config_file} is not readable JSON: {error}") from error
    family = description.get("family") if isinstance(description, dict) else None
    known = FAMILIES | LANGUAGE_FAMILIES
    if not isinstance(family, str) or family not in known:
        raise ValueError(f"{config_file} names the model family {family!r}; known are {', '.join(known)}")
    model_class, config_class = known[family]
    takes_pictures = family in FAMILIES
    try:
        settle(config_class, {}, description["config"])
        config = config_class(**_tuples(description["config"]))
        preprocessing = Preprocessing(**_tuples(description["preprocessing"])) if takes_pictures else None
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ValueError(f"{config_file} does not describe a {model_class.__name__}: {error}") from error
    class_names = description.get("class_names") if takes_pictures else None
    metadata = description.get("metadata", {})
    if class_names is not None and (not isinstance(class_names, list) or len(class_names) != config.num_classes):
        raise ValueError(f"{config_file} does not name as many classes as num_classes, {config.num_classes}")
    if not isinstance(metadata, dict):
        raise ValueError(f"{config_file} holds metadata that is not a dictionary")
    try:
        settle(config_class, dataclasses.asdict(config), hints)
        model = assemble(model_class, config, read_tensors(weights_file)[0])
    except ValueError as error:
        raise ValueError(f"{folder}: {error}" if str(folder) not in str(error) else str(error)) from error
    if takes_pictures:
        model.preprocessing = preprocessing
        model.class_names = None if class_names is None else tuple(map(str, class_names))
    model.provenance = Provenance(
        source=str(folder), format=FORMAT, family=model_class.__name__, hints=dict(hints), metadata=metadata
    )
    return model


def _write_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    stored: dict[int, str] = {}
    shared = {name for name, t in tensors.items() if stored.setdefault(t.data_ptr(), name) != name}  # tied weights
    try:
        save_file({name: t.clone() if name in shared else t for name, t in tensors.items()}, path, {"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _about_pictures(model: Backbone) -> dict[str, object]:
    if model.class_names is not None and len(model.class_names) != model.num_classes:
        raise ValueError(f"class_names has {len(model.class_names)} names for num_classes {model.num_classes}")
    return {"preprocessing": dataclasses.asdict(model.preprocessing), "class_names": model.class_names}


def _tuples(values: Mapping[str, object]) -> dict[str, object]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
