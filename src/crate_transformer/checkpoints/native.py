"""This package's own format: a folder with ``model.safetensors``, ``config.json`` and optionally ``README.md``."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

import crate_transformer
from crate_transformer.checkpoints.assemble import assemble, check_complete
from crate_transformer.checkpoints.examine import naming
from crate_transformer.checkpoints.official import validate_hints
from crate_transformer.checkpoints.provenance import Provenance
from crate_transformer.checkpoints.reading import read_tensors
from crate_transformer.models import (
    LANGUAGE_MODELS,
    MODELS,
    BackboneConfig,
    DEPICTConfig,
    Model,
    Preprocessing,
    Segmenter,
    SegmenterConfig,
    VisionModel,
    innermost,
)
from crate_transformer.storage import as_record, json_text, open_file, plain, read_record, recover, write_files

FORMAT = "crate-transformer"
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FAMILIES = {model_class.__name__: (model_class, type(config)) for model_class, config in MODELS.values()}
LANGUAGE_FAMILIES = {kind.__name__: (kind, type(config)) for kind, config in LANGUAGE_MODELS.values()}
_DEEPEST, _LONGEST = 64, 32 << 20  # levels of metadata, characters of its JSON: half of what readers accept
_MOST_PATCHES = 16_384  # of an image preprocessed as the checkpoint says


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of ``config.json``; checkpoints of older versions of this package have no ``weights_sha256``.

    With a ``decoder``, ``family`` and ``config`` describe the backbone of a ``Segmenter``.
    """

    format: Literal["crate-transformer"] = FORMAT
    format_version: Literal[1] = 1
    package_version: str = crate_transformer.__version__
    family: str
    config: dict[str, Any]
    decoder: dict[str, Any] | None = None
    preprocessing: dict[str, Any] | None = None
    class_names: list[str] | None = None
    exclusive_classes: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str | None = None


def save_checkpoint(
    model: nn.Module,
    folder: str | Path,
    *,
    model_card: str | None = None,
    metadata: Mapping | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write weights, configuration, preprocessing and class names to a folder, all or nothing.

    Args:
        model: a model of this package, possibly wrapped by ``torch.compile``, ``DataParallel`` and the like.
        model_card: text of ``README.md`` in the folder.
        metadata: information to store with the weights (recipe, accuracy), which must be JSON-serialisable. Numbers
            that are not finite become ``null``.
        dtype: dtype on disk, such as ``torch.bfloat16`` for half the size; default: that of the model.

    Raises:
        ValueError: ``metadata`` or ``class_names`` cannot be stored, or the checkpoint could not be loaded again: the
            model has other parts than its configuration says, or values that are not finite in ``dtype``.
        OSError: the folder cannot be written, for example on a full disk; an existing checkpoint is kept.
    """
    model = innermost(model)
    if model.folded:
        raise ValueError("a folded model is for inference only: save the original model")
    backbone, decoder = (model.backbone, model.config.decoder) if isinstance(model, Segmenter) else (model, None)
    if (FAMILIES | LANGUAGE_FAMILIES).get(type(backbone).__name__, (None,))[0] is not type(backbone):
        raise ValueError(
            f"{type(backbone).__name__} cannot be saved, because it could not be loaded again: it is not a known family"
        )
    tensors = {
        name: t.detach().to("cpu", dtype if t.is_floating_point() else None).contiguous()
        for name, t in model.state_dict().items()
    }
    check_complete(type(model), model.config, tensors)
    try:
        facts = plain(metadata or {}, digits=None)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"metadata cannot be written as JSON: {error}") from error
    _check_metadata(facts, "metadata")
    if len(json_text(facts)) > _LONGEST:
        raise ValueError(
            f"metadata has more than {_LONGEST:,} characters as JSON: store large lists beside the checkpoint"
        )
    description = Description(
        family=type(backbone).__name__,
        config=plain(backbone.config, digits=None),
        decoder=plain(decoder, digits=None),
        metadata=facts,
        **(_about_pictures(model) if isinstance(model, VisionModel) else {}),
    )
    written: list[str] = []

    def write_weights(path: Path) -> None:
        _write_weights(tensors, path)
        written.append(_sha256(path))

    def write_config(path: Path) -> None:
        signed = dataclasses.replace(description, weights_sha256=written[0])
        path.write_text(json_text(vars(signed), indent=2) + "\n", encoding="utf-8")

    files: dict[str, bytes | Callable[[Path], None]] = {WEIGHTS: write_weights, CONFIG: write_config}
    if model_card is not None:
        files[CARD] = model_card.encode("utf-8", "backslashreplace")
    return write_files(folder, files)


def load_native(folder: Path, hints: Mapping[str, Any]) -> Model:
    """Load a checkpoint of ``save_checkpoint``. Hints are only checked against the configuration."""
    recover(folder)
    config_file, weights_file = folder / CONFIG, folder / WEIGHTS
    for file in (config_file, weights_file):
        if not file.is_file():
            raise ValueError(f"{folder} is not a checkpoint: it has no {file.name}")
    description = read_record(config_file, Description)
    known = FAMILIES | LANGUAGE_FAMILIES
    if description.family not in known:
        raise ValueError(
            f"{config_file} has the unknown model family {description.family!r}; known families: {', '.join(known)}"
        )
    model_class, config_class = known[description.family]
    config = as_record(description.config, config_class, f"{config_file}, the config of a {description.family},")
    _check_metadata(description.metadata, f"{config_file}, its metadata")
    if description.weights_sha256 is not None and description.weights_sha256 != _sha256(weights_file):
        raise ValueError(
            f"{weights_file} is damaged or was replaced: its SHA-256 is not the one in {CONFIG}; copy both again"
        )
    with naming(folder):
        of_decoder = {"num_classes"} if description.decoder is not None else set()
        of_backbone = {name: hint for name, hint in hints.items() if name not in of_decoder}
        validate_hints(config_class, dataclasses.asdict(config), {**description.config, **of_backbone})
        if description.decoder is not None:
            decoder = as_record(description.decoder, DEPICTConfig, f"{CONFIG}, its decoder,")
            given = description.decoder | {name: hint for name, hint in hints.items() if name in of_decoder}
            validate_hints(DEPICTConfig, dataclasses.asdict(decoder), given)
            model_class, config = Segmenter, SegmenterConfig(backbone=config, decoder=decoder)
        about_pictures = _read_about_pictures(description, config) if description.family in FAMILIES else {}
    tensors = read_tensors(weights_file)[0]
    with naming(folder):
        model = assemble(model_class, config, tensors)
    for name, value in about_pictures.items():
        setattr(model, name, value)
    model.provenance = Provenance(
        source=str(folder),
        format=FORMAT,
        family=model_class.__name__,
        hints=dict(hints),
        metadata=description.metadata,
    )
    return model


def _write_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    stored: dict[int, str] = {}
    shared = {name for name, t in tensors.items() if stored.setdefault(t.data_ptr(), name) != name}  # tied weights
    try:
        save_file({name: t.clone() if name in shared else t for name, t in tensors.items()}, path, {"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_file(path) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _about_pictures(model: VisionModel) -> dict[str, Any]:
    names = None if model.class_names is None else _class_names(model.class_names, model.num_classes)
    return {
        "preprocessing": plain(model.preprocessing, digits=None),
        "class_names": names and list(names),
        "exclusive_classes": model.exclusive_classes,
    }


def _class_names(names: object, num_classes: int) -> tuple[str, ...] | None:
    if names is None:
        return None
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"class_names is a {type(names).__name__}: it must be a tuple with the name of every class, in order"
        )
    if len(names) != num_classes:
        raise ValueError(f"class_names has {len(names)} names for num_classes {num_classes}")
    return tuple(names)


def _read_about_pictures(description: Description, config: BackboneConfig | SegmenterConfig) -> dict[str, Any]:
    """Preprocessing, which must be complete (a default for a missing value would be a guess), and class names."""
    class_names, stored = _class_names(description.class_names, config.num_classes), description.preprocessing
    expected = [part.name for part in dataclasses.fields(Preprocessing)]
    if stored is None or sorted(stored) != sorted(expected):
        raise ValueError(f"{CONFIG}: its preprocessing has {sorted(stored or ())}, expected {sorted(expected)}")
    preprocessing = as_record(stored, Preprocessing, f"{CONFIG}, its preprocessing,")
    rows, columns = (side // patch for side, patch in zip(preprocessing.img_size, config.patch_shape, strict=True))
    if rows * columns > _MOST_PATCHES:
        raise ValueError(
            f"{CONFIG}: its preprocessing gives {rows} x {columns} patches per image, more than {_MOST_PATCHES:,}"
        )
    exclusive = description.exclusive_classes
    return {"preprocessing": preprocessing, "class_names": class_names, "exclusive_classes": exclusive}


def _check_metadata(metadata: object, where: str) -> None:
    if _levels_beyond(metadata, _DEEPEST):
        raise ValueError(f"{where} is nested more than {_DEEPEST} levels deep")


def _levels_beyond(value: object, levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_levels_beyond(part, levels - 1) for part in inside)
