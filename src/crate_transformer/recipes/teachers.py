"""Teachers for distillation: models of this package, timm, transformers and ONNX files."""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.checkpoints.transformers_folder import Pixels
from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.distillation import DistillationConfig
from crate_transformer.data import imagenet_words
from crate_transformer.data.classes import relabelled, told_apart
from crate_transformer.data.wordnet import wordnet_words
from crate_transformer.inspection import class_names
from crate_transformer.integrations.torchvision import import_torchvision
from crate_transformer.models import Backbone, Preprocessing
from crate_transformer.storage import as_record, read_file, read_json
from crate_transformer.training.state_tensors import digest
from crate_transformer.training.tasks.distillation import Distillation, Teacher


class Opened(NamedTuple):
    """A loaded teacher: logits, a digest of the weights, preprocessing, the number of classes, and their names if
    known; ``exclusive``: an image has exactly one class."""

    logits: Callable[[Tensor], Tensor]
    digest: str
    preprocessing: Preprocessing
    num_classes: int
    names: Sequence[str] | None
    exclusive: bool = True


class NamedTeacher(Distillation):
    """Distillation from the teacher given in the configuration."""

    def __init__(self, config: DistillationConfig, model: Backbone, augment: AugmentConfig) -> None:
        super().__init__(config, model, augment, load_teacher(config.teacher, class_names(model)))


def load_teacher(name: str, classes: Sequence[str]) -> Teacher:
    """The teacher ``name`` (see ``DistillationConfig.teacher``) for the classes of the data.

    A model with 1,000 classes and no class names is assumed to have ImageNet's classes.

    Raises:
        ValueError: it has no classes or no class names, or lacks classes of the data; or it cannot be read.
        OSError: it does not exist.
        ImportError: it needs a package that is not installed.
    """
    library, _, rest = name.partition(":")
    if open_from := {"timm": _timm, "hf": _transformers}.get(library):
        found = open_from(rest, name)
    elif Path(name).suffix == ".onnx":
        found = _onnx(name)
    else:
        found = _own(name)
    if not found.exclusive:
        raise ValueError(f"the teacher {name} is a multi-label model: give one with exactly one class per image")
    known = found.names
    if known is None and found.num_classes == len(imagenet_words()):
        known = imagenet_names(imagenet_words())
    if known is None:
        raise ValueError(f"the teacher {name} has {found.num_classes} classes without names: give one with class names")
    columns = columns_of(classes, known, f"the data for the teacher {name}")
    return Teacher(found.logits, found.preprocessing, columns, found.digest)


def columns_of(classes: Sequence[str], known: Sequence[str], where: str) -> tuple[int, ...]:
    """The indices of the classes in ``known``, by the full name, or else by the name up to the first comma, because
    some lists of ImageNet's classes contain all synonyms.

    Raises:
        ValueError: some classes are not in ``known``; the message calls the data ``where``.
    """
    try:
        return tuple(relabelled(range(len(classes)), classes, known, where))
    except ValueError:
        ours, theirs = ([name.partition(",")[0] for name in names] for names in (classes, known))
        if len(set(ours)) < len(ours) or any(theirs.count(name) != 1 for name in ours):
            raise
        return tuple(map(theirs.index, ours))


def imagenet_names(ids: Iterable[str]) -> tuple[str, ...]:
    """The names of these WordNet ids, as in ``open_images``.

    Raises:
        ValueError: one of them has no name.
    """
    ids = list(ids)
    if (words := wordnet_words(ids)) is None:
        raise ValueError("the classes of the teacher are not ImageNet's: give one with class names")
    return told_apart(words, ids)


def _own(name: str) -> Opened:
    model = load_checkpoint(name)
    if not isinstance(model, Backbone) or not model.num_classes:
        raise ValueError(f"the teacher {name} has no classes: give an image classifier")
    return Opened(*_module(model), model.preprocessing, model.num_classes, model.class_names, model.exclusive_classes)


def _onnx(path: str) -> Opened:
    from crate_transformer.integrations.onnx_model import open_onnx

    logits, size, count = open_onnx(Path(path))
    described = Path(f"{path}.json")
    told = read_json(described) if described.is_file() else {}
    if not isinstance(told, dict):
        raise ValueError(f"{described} is not a description written by 'crate export'")
    preprocessing = as_record(told.get("preprocessing", {}), Preprocessing, str(described))
    if size and size != preprocessing.img_size:
        preprocessing = Preprocessing(**{**vars(preprocessing), "img_size": size})
    names = as_record(told.get("class_names"), list[str] | None, str(described))
    weights = sha256(read_file(path)).hexdigest()
    return Opened(logits, weights, preprocessing, count, names, told.get("exclusive_classes", True) is True)


def _timm(rest: str, name: str) -> Opened:
    try:
        import_torchvision()
        import timm  # pyright: ignore[reportMissingImports]
        from timm.data import ImageNetInfo, infer_imagenet_subset  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"{name} needs timm: pip install 'crate-transformer[timm]'") from error
    try:
        model = timm.create_model(rest, pretrained=True)
    except RuntimeError as error:  # unknown model name
        raise ValueError(f"timm cannot create the teacher {name}: {error}") from error
    words = timm.data.resolve_data_config(model=model)
    preprocessing = Preprocessing(
        img_size=tuple(words["input_size"][1:]), mean=tuple(words["mean"]), std=tuple(words["std"])
    )
    known, subset = model.pretrained_cfg.get("label_names"), infer_imagenet_subset(model)
    if not known and subset:
        known = imagenet_names(ImageNetInfo(subset).label_names())
    return Opened(*_module(model), preprocessing, model.num_classes, known or None)


def _transformers(rest: str, name: str) -> Opened:
    try:
        import_torchvision()
        from transformers import AutoModelForImageClassification
        from transformers.image_processing_utils import BaseImageProcessor

        import crate_transformer.integrations.transformers  # noqa: F401 -- registers our models with transformers
    except ImportError as error:
        raise ImportError(f"{name} needs transformers: pip install 'crate-transformer[hf]'") from error
    try:
        model = AutoModelForImageClassification.from_pretrained(rest, use_safetensors=True)
        told, _ = BaseImageProcessor.get_image_processor_dict(rest)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise OSError(f"transformers cannot load the teacher {name}: {reason}") from error
    size = told["crop_size"] if told.get("do_center_crop") and "crop_size" in told else told.get("size", {})
    sides = size if isinstance(size, dict) else {"height": size, "width": size}
    side = sides.get("shortest_edge") or getattr(model.config, "image_size", 224)
    pixels: Pixels = as_record(told, Pixels, f"the image processor of {name}")
    mean, std = pixels.mean_and_std(f"the image processor of {name}")
    preprocessing = Preprocessing(img_size=(sides.get("height", side), sides.get("width", side)), mean=mean, std=std)
    count = model.config.num_labels
    known = [model.config.id2label.get(index, "") for index in range(count)]
    unnamed = known == [f"LABEL_{index}" for index in range(count)]
    exclusive = model.config.problem_type != "multi_label_classification"
    return Opened(
        *_module(model, lambda answer: answer.logits), preprocessing, count, None if unnamed else known, exclusive
    )


def _module(model: nn.Module, pick: Callable = lambda answer: answer) -> tuple[Callable[[Tensor], Tensor], str]:
    """A function for the logits, on the device of its input, and a digest of the weights."""
    model.eval().requires_grad_(False)
    weights = digest(model.state_dict())
    return lambda images: pick(model.to(images.device)(images.to(next(model.parameters()).dtype))), weights
