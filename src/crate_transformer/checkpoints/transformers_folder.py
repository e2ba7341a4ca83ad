"""What transformers stores beside the weights of a ViT: ``config.json`` and ``preprocessor_config.json``."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crate_transformer.checkpoints.reading import INDEX
from crate_transformer.models import Backbone
from crate_transformer.storage import as_record, printable, read_json, read_record

EPS = {"vit": 1e-12, "dinov2": 1e-6, "dinov2_with_registers": 1e-6}
"""Types of models, with their default for ``layer_norm_eps``."""
WEIGHTS = ("model.safetensors", INDEX, "pytorch_model.bin")
PROCESSOR = "preprocessor_config.json"
RESAMPLE = {2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """The fields of ``config.json`` that no tensor shows."""

    model_type: str
    hidden_act: str = "gelu"
    num_attention_heads: int | None = None
    layer_norm_eps: float | None = None
    image_size: int | tuple[int, int] | None = None
    id2label: dict[str, str] = field(default_factory=dict)
    problem_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """The fields of ``preprocessor_config.json`` about the values of pixels."""

    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, float, float] | None = None
    image_std: tuple[float, float, float] | None = None
    do_flip_channel_order: bool = False

    def mean_and_std(self, where: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Mean and standard deviation of pixels from 0 to 1.

        Raises:
            ValueError: our preprocessing cannot do this, or they are missing; the message begins with ``where``.
        """
        if not self.do_rescale or abs(255 * self.rescale_factor - 1) > 1e-3:
            raise ValueError(f"{where}: pixels must be divided by 255")
        if self.do_flip_channel_order:
            raise ValueError(f"{where}: the channels must be red, green and blue, not the other way round")
        if not self.do_normalize:
            return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        if self.image_mean is None or self.image_std is None:
            raise ValueError(f"{where}: image_mean or image_std is missing")
        return self.image_mean, self.image_std


@dataclass(frozen=True, kw_only=True)
class Processor(Pixels):
    """The fields of ``preprocessor_config.json``."""

    do_resize: bool = True
    size: int | dict[str, int | None]
    resample: int
    do_center_crop: bool = False
    crop_size: int | dict[str, int | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What these files say about a model."""

    config_file: Path
    options: dict[str, Any]
    class_names: tuple[str, ...] | None
    exclusive_classes: bool
    preprocessing: dict[str, Any]
    """Fields of ``Preprocessing``; none without the second file."""
    departures: dict[str, str]
    """What our preprocessing does in another way."""


def read_beside(config_file: Path) -> Beside | None:
    """What is stored beside the weights; ``None`` if this is not the ``config.json`` of such a model.

    Raises:
        ValueError: the model needs something that our ViT does not have, a file is not valid, or our own integration
            wrote it.
    """
    content = read_json(config_file)
    if isinstance(content, dict) and content.get("model_type") == "crate":
        raise ValueError(
            f"{config_file} was written by our transformers integration: load it there, and convert it back with "
            "from_transformers and save_checkpoint"
        )
    if not isinstance(content, dict) or content.get("model_type") not in EPS:
        return None
    config: Config = as_record(content, Config, str(config_file))
    if config.hidden_act != "gelu":
        raise ValueError(f"{config_file}: the activation is {printable(config.hidden_act)}, but our ViT has only gelu")
    options = {
        "num_heads": config.num_attention_heads,
        "img_size": config.image_size,
        "norm_eps": EPS[config.model_type] if config.layer_norm_eps is None else config.layer_norm_eps,
    }
    processor = config_file.with_name(PROCESSOR)
    preprocessing, departures = read_processor(processor) if processor.is_file() else ({}, {})
    return Beside(
        config_file=config_file,
        options={name: value for name, value in options.items() if value is not None},
        class_names=class_names(config.id2label, config_file),
        exclusive_classes=config.problem_type != "multi_label_classification",
        preprocessing=preprocessing,
        departures=departures,
    )


def class_names(id2label: Mapping[str, str], config_file: Path) -> tuple[str, ...] | None:
    """The names in order; ``None`` if they are only numbered."""
    numbers = [str(number) for number in range(len(id2label))]
    if set(id2label) != set(numbers):
        raise ValueError(f"{config_file}: the keys of id2label are not the numbers from 0 to {len(id2label) - 1}")
    names = tuple(id2label[number] for number in numbers)
    return None if all(name == f"LABEL_{number}" for name, number in zip(names, numbers, strict=True)) else names


def read_processor(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of ``Preprocessing``, and what it does in another way.

    Raises:
        ValueError: a value is missing, or our preprocessing cannot do this.
    """
    stored: Processor = read_record(file, Processor)
    if not stored.do_resize:
        raise ValueError(f"{file}: pictures must be resized")
    if stored.resample not in RESAMPLE:
        raise ValueError(f"{file}: resample is {stored.resample}, but only 2 (bilinear) and 3 (bicubic) are available")
    mean, std = stored.mean_and_std(str(file))
    resized = sides(stored.size)
    cropped = sides(stored.crop_size) if stored.do_center_crop and stored.crop_size is not None else resized
    if resized is None or cropped is None or min(*resized, *cropped) < 1:
        raise ValueError(f"{file}: size and crop_size must be numbers of pixels, or have height and width")
    found = {"img_size": cropped, "crop_pct": min(1.0, min(cropped) / min(resized)), "mean": mean, "std": std}
    squeezed = not (isinstance(stored.size, dict) and "shortest_edge" in stored.size)
    departures = {"crop": "the centre; its own processor distorts pictures to their new shape"} if squeezed else {}
    return found | {"interpolation": RESAMPLE[stored.resample]}, departures


def sides(size: int | dict[str, int | None]) -> tuple[int, int] | None:
    """Height and width; ``None`` if they are missing."""
    if isinstance(size, int):
        return size, size
    height, width = (size.get("shortest_edge", size.get(side)) for side in ("height", "width"))
    return None if height is None or width is None else (height, width)


def weights_in(folder: Path) -> Path:
    """The file with the weights.

    Raises:
        ValueError: there is none.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"{folder} has no weights: expected one of {', '.join(WEIGHTS)}")


def complete(beside: Beside, hints: Mapping[str, Any]) -> dict[str, Any]:
    """The hints, completed by the options in ``config.json``.

    Raises:
        ValueError: they contradict each other.
    """
    for name, value in beside.options.items():
        if name in hints and hints[name] != value:
            raise ValueError(f"{name}={hints[name]} contradicts {beside.config_file.name}, which says {value}")
    return beside.options | dict(hints)


def describe(model: Backbone, beside: Beside, assumed: Mapping[str, Any]) -> dict[str, Any]:
    """Give the model its preprocessing and class names; returns what is then still assumed.

    Raises:
        ValueError: there are not as many names as classes, or pictures would have no whole number of patches.
    """
    if model.num_classes and beside.class_names is not None:
        if len(beside.class_names) != model.num_classes:
            raise ValueError(f"id2label has {len(beside.class_names)} names for {model.num_classes} classes")
        model.class_names = beside.class_names
    model.exclusive_classes = beside.exclusive_classes
    model.preprocessing = replace(model.preprocessing, **beside.preprocessing)
    if any(side % patch for side, patch in zip(model.preprocessing.img_size, model.patch_size, strict=True)):
        raise ValueError(f"{PROCESSOR} gives {model.preprocessing.img_size} pixels, no multiple of {model.patch_size}")
    return {name: value for name, value in assumed.items() if name not in beside.preprocessing} | beside.departures
