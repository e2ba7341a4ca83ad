"""Loading checkpoints of every supported format."""

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crate_transformer.checkpoints import (
    official_cbt,
    official_crate,
    official_crate_alpha,
    official_crate_alpha_clipa,
    official_crate_alpha_jax,
    official_crate_demo,
    official_crate_mae,
    official_depict,
    official_hyper_set,
    official_tost,
    official_tost_language,
    official_vit,
    own_weights,
    transformers_folder,
    transformers_vit,
)
from crate_transformer.checkpoints.assemble import assemble, check_complete
from crate_transformer.checkpoints.examine import MAX_EXPANSION, naming
from crate_transformer.checkpoints.hub import from_pretrained, is_hub_id
from crate_transformer.checkpoints.native import CONFIG, WEIGHTS, load_native
from crate_transformer.checkpoints.official import OfficialFormat
from crate_transformer.checkpoints.pretrained import bundled_folder, load_bundled
from crate_transformer.checkpoints.provenance import Provenance
from crate_transformer.checkpoints.reading import INDEX, module_names, read_tensors, within, without_shared_prefix
from crate_transformer.models import Backbone, Model, VisionModel, innermost
from crate_transformer.storage import write_file

OFFICIAL_FORMATS: tuple[OfficialFormat, ...] = (
    official_cbt.FORMAT,
    official_crate.FORMAT,
    official_crate_demo.FORMAT,
    official_crate_mae.FORMAT,
    official_crate_alpha.FORMAT,
    official_crate_alpha_jax.FORMAT,
    official_crate_alpha_clipa.FORMAT,
    official_depict.FORMAT,
    official_hyper_set.FORMAT,
    official_hyper_set.CRATE_FORMAT,
    official_tost.FORMAT,
    official_tost_language.FORMAT,
    official_vit.FORMAT,
    transformers_vit.FORMAT,
)
FORMATS = (own_weights.FORMAT, *OFFICIAL_FORMATS)


def load_checkpoint(path: str | Path, **hints: Any) -> Model:
    """Load a model in evaluation mode; ``.provenance`` says what was inferred, ``.preprocessing`` describes the inputs.

    Args:
        path: a folder written by ``save_checkpoint`` or a file in it; an official checkpoint of a family in
            docs/models.md (``.pth.tar``, ``.t7``, ``.pth``, ``.pt``, ``.npz``; a bare state dict), or a folder of
            transformers with a ViT or a DINOv2; the weights of a model of this package alone, as ``torch.save``,
            safetensors (in one or several files), timm or Lightning write them; the name of bundled
            weights such as ``crate_mini_patch8_64.tiny_imagenet_100``; or a Hugging Face hub id ``owner/name``.
        hints: for files without a configuration, what cannot be inferred from the tensors: ``num_heads``,
            ``step_size``, ``sparsity_weight``, ``global_pool`` (``"token"`` or ``"avg"``), ``img_size`` (an int or
            ``(height, width)``), ``patch_size``, ``in_chans``; for our own weights also ``model``, its name. A hint
            that contradicts the weights is an error. Two further hints are about the file: ``weights``, the entry to
            load if there are several, such as ``"model_ema"``, or the first part of the names of its tensors, and
            ``max_expansion``, the largest ratio of its size in memory to its size on disk (default 16).

    Raises:
        FileNotFoundError: the path or name does not exist.
        ValueError: a broken, malicious or unknown file, or missing or wrong hints.
    """
    local = Path(path)
    if local.is_dir() or local.is_file():
        folder = local if local.is_dir() else local.parent
        described = (folder / CONFIG).is_file()
        if described and (beside := transformers_folder.read_beside(folder / CONFIG)):
            file = transformers_folder.weights_in(folder) if local in (folder, folder / CONFIG) else local
            return _load_file(file, hints, beside)
        if local.is_dir() and not described and (folder / INDEX).is_file():
            return _load_file(folder / INDEX, hints)
        if local.is_file() and not (described and local.name in (CONFIG, WEIGHTS)):
            return _load_file(local, hints)
        return load_native(folder, hints)
    if folder := bundled_folder(str(path)):
        return load_bundled(folder, hints)
    if is_hub_id(str(path)) and not local.parent.exists():
        return from_pretrained(str(path), **hints)
    raise FileNotFoundError(f"{path} is not a file, folder, bundled model or hub id (owner/name): check the path")


def _load_file(file: Path, hints: dict[str, Any], beside: transformers_folder.Beside | None = None) -> Model:
    about_weights = {name: value for name, value in hints.items() if name not in ("weights", "max_expansion")}
    stored, metadata = read_tensors(file, hints.get("weights"), hints.get("max_expansion", MAX_EXPANSION))
    found, tensors = _recognise(file, stored)
    if found is not transformers_vit.FORMAT:
        beside = None
    with naming(file):
        given = transformers_folder.complete(beside, about_weights) if beside else about_weights
        if found is own_weights.FORMAT:
            given = own_weights.stored_name(metadata) | given
        converted = found.convert(tensors, given)
        model = assemble(converted.model_class, converted.config, converted.tensors, converted.stored_names)
        assumed = dict(converted.assumed)
        if isinstance(model, VisionModel):
            model.preprocessing = dataclasses.replace(model.preprocessing, **converted.preprocessing)
        if isinstance(model, Backbone) and beside:
            assumed = transformers_folder.describe(model, beside, assumed)
            metadata = metadata | beside.options
    model.provenance = Provenance(
        source=str(file),
        format=found.name,
        family=converted.model_class.__name__,
        inferred=converted.inferred,
        assumed=assumed,
        hints=dict(hints),
        dropped=converted.dropped | dict.fromkeys(_left_out(stored, tensors), "a number beside the weights"),
        metadata=metadata,
    )
    return model


def _recognise(file: Path, tensors: Mapping[str, Tensor]) -> tuple[OfficialFormat, Mapping[str, Tensor]]:
    """The format of the tensors, and the tensors without shared name prefixes such as ``module.``."""
    found, shorter = _find(file, tensors)
    if found is not None:
        return found, shorter
    inner = next(iter(shorter))
    prefix = next(name for name in tensors if name.endswith(inner)).removesuffix(inner)
    parts = [name for name in module_names(shorter) if _find(file, within(name, shorter))[0]]
    if "decoder.classes" in shorter and "backbone" in parts:
        raise ValueError(
            f"{file} contains a segmenter, whose decoder needs the config.json saved with it: give the folder with "
            f"both, or weights={prefix + 'backbone'!r} for its backbone alone"
        )
    remedy = (
        "it contains more than a model: give " + " or ".join(f"weights={prefix + name!r}" for name in parts)
        if parts
        else f"known formats: {', '.join(known.name for known in FORMATS)}"
    )
    raise ValueError(f"{file} has an unknown format, with tensors such as {prefix + inner!r}; {remedy}")


def _find(file: Path, tensors: Mapping[str, Tensor]) -> tuple[OfficialFormat | None, Mapping[str, Tensor]]:
    """The same; ``None`` if no format is recognised."""
    while True:
        found = next((known for known in FORMATS if known.recognises(tensors.keys())), None)
        before, tensors = tensors, tensors if found else without_shared_prefix(file, tensors)
        if tensors is before:
            return found, tensors


def _left_out(stored: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """The names that were left out when shared prefixes were removed."""
    kept = tuple(tensors)
    return [] if len(stored) == len(tensors) else [name for name in stored if not name.endswith(kept)]


def save_official(model: nn.Module, file: str | Path) -> str:
    """Write the weights, bit for bit, in the format of the family's official code; returns the name of the format.

    Raises:
        ValueError: the family has no official format, or the file would be read as another model, also with every
            option given as a hint.
        OSError: the file cannot be written; an existing file is kept.
    """
    content, name = official_content(model)
    write_file(file, content)
    return name


def official_content(model: nn.Module) -> tuple[bytes, str]:
    """The content of the file that ``save_official`` writes, and the name of the format."""
    model = innermost(model)
    known = {form.restore[0]: (form, form.restore[1]) for form in OFFICIAL_FORMATS if form.restore}
    if type(model) not in known:
        names = ", ".join(family.__name__ for family in known)
        raise ValueError(f"{type(model).__name__} has no official format; there are formats for {names}")
    form, restore = known[type(model)]
    content = restore(model)
    try:
        _check_same(model, form, content)
    except ValueError as error:
        raise ValueError(f"the format {form.name!r} cannot store this {type(model).__name__}: {error}") from error
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue(), form.name


def _check_same(model: Model, form: OfficialFormat, content: Mapping[str, Any]) -> None:
    """Check that the model's options as hints and the content to be written give the model.

    Raises:
        ValueError: they give another one, or none.
    """
    tensors = next((part for part in content.values() if isinstance(part, Mapping)), content)
    found, tensors = _recognise(Path("the file"), tensors)
    if found is not form:
        raise ValueError(f"it would be read as {found.name!r}")
    again = form.convert(tensors, vars(model.config))
    check_complete(again.model_class, again.config, again.tensors)
    for name, value in vars(model.config).items():
        if getattr(again.config, name) != value:
            raise ValueError(f"{name} {value} would be read as {getattr(again.config, name)}")
    for name, tensor in model.state_dict().items():
        if name not in again.tensors or not torch.equal(again.tensors[name], tensor.cpu()):
            raise ValueError(f"the tensor {name!r} would be read with other values")
