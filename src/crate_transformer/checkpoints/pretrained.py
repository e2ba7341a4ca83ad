"""Models by name, with or without the bundled weights."""

import dataclasses
from pathlib import Path
from typing import Any

from crate_transformer.checkpoints.native import CONFIG, load_native
from crate_transformer.checkpoints.provenance import Provenance
from crate_transformer.models import Backbone, build_model, canonical_name

BUNDLED = Path(__file__).with_name("bundled")
"""Folder of the bundled checkpoints, each called ``name.tag``."""
ADAPTABLE = ("num_classes", "img_size", "global_pool", "drop_rate", "drop_path_rate", "dynamic_img_size")
"""Options that may differ from those used in training."""


def list_pretrained() -> list[str]:
    """Names ``model.tag`` of the bundled weights, sorted."""
    return sorted(file.parent.name for file in BUNDLED.glob(f"*/{CONFIG}"))


def bundled_folder(name: str) -> Path | None:
    """The folder of the bundled weights ``name`` (``model.tag``, or a model with one tag), if they exist."""
    tags = [full for full in list_pretrained() if name in (full, full.partition(".")[0])]
    return BUNDLED / tags[0] if len(tags) == 1 else None


def load_bundled(folder: Path, hints: dict[str, Any]) -> Backbone:
    """The model in a folder of bundled weights, with their name as provenance instead of a path."""
    model = load_native(folder, hints)
    assert isinstance(model, Backbone)
    model.provenance = dataclasses.replace(model.provenance, source=f"the bundled weights: {folder.name}")
    return model


def create_model(name: str, pretrained: bool = False, **config: Any) -> Backbone:
    """A model by name, such as ``crate_small_patch16_224`` or an alias from the papers (``CRATE-B/8``).

    Args:
        name: may include the tag of bundled weights, ``crate_mini_patch8_64.tiny_imagenet_100``. The model then has the
            configuration of these weights (such as their ``num_classes``), whether they are loaded or not.
        pretrained: load these weights, in evaluation mode. Only ``num_classes`` (with a new head), ``img_size`` (the
            position table is resampled), ``global_pool``, ``dynamic_img_size`` and the two drop rates may then be
            changed.
        config: fields of the model's configuration to replace.

    Raises:
        ValueError: there is no such model, option or weights.
    """
    base, _, tag = name.partition(".")
    base = canonical_name(base)
    full = f"{base}.{tag}" if tag else base
    if tag or pretrained:
        folder = bundled_folder(full)
        if folder is None:
            raise ValueError(
                f"there are no bundled weights {full!r}; available: {', '.join(list_pretrained()) or 'none'}. Use "
                "load_checkpoint for your own weights"
            )
        if pretrained:
            return _adapt(load_bundled(folder, {}), config).eval()
        config = {**dataclasses.asdict(load_bundled(folder, {}).config), **config}
    model = build_model(base, **config)
    model.provenance = Provenance(source=full, format="fresh initialisation", family=type(model).__name__)
    return model


def _adapt(model: Backbone, options: dict[str, Any]) -> Backbone:
    """The same weights with other classes, another image size or another pooling."""
    for name, value in options.items():
        if name not in ADAPTABLE and value != getattr(model.config, name, None):
            raise ValueError(
                f"{name}={value} does not match the weights of {model.provenance.source}; "
                f"only {', '.join(ADAPTABLE)} can be changed"
            )
    config, dropped = dataclasses.replace(model.config, **options), {}
    if config.num_classes != model.num_classes:
        reason = f"num_classes is {config.num_classes} instead of {model.num_classes}: the head is new"
        dropped = {f"head.{key}": reason for key in model.head.state_dict()}
        model.reset_classifier(config.num_classes)
    if "img_size" in options:
        model.set_input_size(config.img_size)
    model.config = dataclasses.replace(model.config, **options)
    model.head_drop.p = config.drop_rate
    model.provenance = dataclasses.replace(
        model.provenance, hints=options, dropped={**model.provenance.dropped, **dropped}
    )
    return model
