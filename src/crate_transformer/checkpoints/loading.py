"""One door for every kind of checkpoint."""

import re
from pathlib import Path

from crate_transformer.checkpoints import official_crate, official_crate_demo
from crate_transformer.checkpoints.assemble import assemble
from crate_transformer.checkpoints.native import CARD, CONFIG, WEIGHTS, load_native
from crate_transformer.checkpoints.official import OfficialFormat
from crate_transformer.checkpoints.pretrained import box_folder, load_from_box
from crate_transformer.checkpoints.provenance import Provenance
from crate_transformer.checkpoints.reading import read_tensors
from crate_transformer.models import Backbone

OFFICIAL_FORMATS: tuple[OfficialFormat, ...] = (official_crate.FORMAT, official_crate_demo.FORMAT)


def load_checkpoint(path: str | Path, **hints: object) -> Backbone:
    """Load a model in evaluation mode; ``.provenance`` says what was found, ``.preprocessing`` how pictures go in.

    Args:
        path: a folder written by ``save_checkpoint`` or a file in it; an official CRATE checkpoint (``.pth.tar``,
            ``.t7``, the demo's ``.pth``, a bare state dict); a model in the box such as
            ``crate_mini_patch8_64.tiny_imagenet_100``; or a Hugging Face hub id ``owner/name``.
        hints: for official checkpoints, what no tensor tells, under the configuration's own names: ``num_heads``,
            ``step_size``, ``sparsity_weight``, ``global_pool`` (``"token"`` or ``"avg"``), ``img_size`` (an int or
            ``(height, width)``), ``patch_size``, ``in_chans``. A hint that contradicts the weights is an error.

    Raises:
        FileNotFoundError: there is nothing of that name.
        ValueError: broken, malicious or unknown file, or hints missing or wrong; one sentence that names the culprit.
    """
    local = Path(path)
    if local.is_dir():
        return load_native(local, hints)
    if local.is_file():
        if local.name in (CONFIG, WEIGHTS) and (local.parent / CONFIG).is_file():
            return load_native(local.parent, hints)
        return _load_official(local, hints)
    if folder := box_folder(str(path)):
        return load_from_box(folder, hints)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)) and not local.parent.exists():
        return load_native(_fetch(str(path)), hints)
    raise FileNotFoundError(
        f"{path} is no file or folder, no model in the box, and no hub id of the form owner/name: check the path"
    )


def _load_official(file: Path, hints: dict[str, object]) -> Backbone:
    tensors, metadata = read_tensors(file)
    found = next((known for known in OFFICIAL_FORMATS if known.recognises(tensors.keys())), None)
    if found is None:
        names = ", ".join(known.name for known in OFFICIAL_FORMATS)
        raise ValueError(
            f"{file} is of an unknown family: it has tensors such as {next(iter(tensors))!r}; known are {names}"
        )
    try:
        converted = found.convert(tensors, hints)
        model = assemble(converted.model_class, converted.config, converted.tensors, converted.stored_names)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    model.provenance = Provenance(
        source=str(file),
        format=found.name,
        family=converted.model_class.__name__,
        inferred=converted.inferred,
        assumed=converted.assumed,
        hints=dict(hints),
        dropped=converted.dropped,
        metadata=metadata,
    )
    return model


def _fetch(hub_id: str) -> Path:
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=[WEIGHTS, CONFIG, CARD]))
    except (OSError, ValueError) as error:  # every error of the hub is one of them
        raise FileNotFoundError(
            f"{hub_id} is no local path and could not be fetched from the Hugging Face hub ({type(error).__name__}): "
            "check the name and the network"
        ) from error
