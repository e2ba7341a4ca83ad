"""The metrics of ``crate evaluate`` on labelled images."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from crate_transformer.cli.terminal import complain

if TYPE_CHECKING:
    from crate_transformer.data import LabelledFiles
    from crate_transformer.evaluation import AccuracyCounts
    from crate_transformer.models import Backbone

FILES = ("details.json", "confusion.png", "reliability.png")
_IN_SHORT = 5


def measure_classes(
    model: "Backbone", images: "LabelledFiles", real: Path | None, *, num_workers: int, batch_size: int = 128
) -> tuple[dict[str, object], "AccuracyCounts"]:
    """Accuracy, calibration error, the most frequent confusions and, with the file ``real``, ReaL accuracy."""
    import torch

    from crate_transformer.data import eval_loader
    from crate_transformer.evaluation import AccuracyCounts
    from crate_transformer.evaluation.accuracy import answers, count_answers
    from crate_transformer.evaluation.confusion import largest_confusions
    from crate_transformer.evaluation.real_labels import read_real_labels, real_accuracy, real_labels_of
    from crate_transformer.progress import tracked

    real_labels = []
    if real:
        names = [images.name(index) for index in range(len(images))]
        real_labels = real_labels_of(names, read_real_labels(real))
    labels, guesses = torch.tensor(images.labels), torch.full((len(images),), -1)
    # the loader skips unreadable images: each image carries its index instead of a label
    numbered = replace(images, labels=list(range(len(images))))
    loader = eval_loader(numbered, model.preprocessing, batch_size=batch_size, num_workers=num_workers)
    counts = AccuracyCounts()
    for logits, places in answers(model, tracked("images", loader, len(loader))):
        places = places.cpu()
        counts += count_answers(logits, labels[places].to(logits.device))
        guesses[places] = logits.argmax(dim=1).cpu()
    found = {
        **asdict(counts.result()),
        "calibration_error": counts.calibration.error,
        "largest_confusions": list(map(str, largest_confusions(counts, images.classes, _IN_SHORT))),
    }
    if real:
        seen = (guesses >= 0).nonzero()[:, 0].tolist()
        parts = guesses[seen].tolist(), labels[seen].tolist(), [real_labels[place] for place in seen]
        found["real"] = asdict(real_accuracy(*parts, model.num_classes))
    return found, counts


def measure_several(
    model: "Backbone", images: "LabelledFiles", *, num_workers: int, batch_size: int = 128
) -> dict[str, object]:
    """Mean average precision on images that may have several classes."""
    from crate_transformer.data import eval_loader
    from crate_transformer.evaluation.several_classes import logits_and_targets, mean_average_precision
    from crate_transformer.progress import tracked

    loader = eval_loader(images, model.preprocessing, batch_size=batch_size, num_workers=num_workers)
    return asdict(mean_average_precision(*logits_and_targets(model, tracked("images", loader, len(loader)))))


def write_report(
    folder: Path,
    settings: dict[str, object],
    counts: "AccuracyCounts",
    names: tuple[str, ...],
    result: dict[str, object],
) -> None:
    """Write metrics by class, the confusion matrix, both figures and the settings."""
    from crate_transformer.cli.outputs import SETTINGS
    from crate_transformer.evaluation.confusion import class_accuracies, confusion_matrix, largest_confusions
    from crate_transformer.reports.confusion import MOST_CLASSES, confusion_figure
    from crate_transformer.reports.reliability import reliability_figure
    from crate_transformer.reports.style import figure_bytes
    from crate_transformer.storage import json_bytes, write_files

    details = {
        **result,
        "classes": names,
        "by_class": class_accuracies(counts, names),
        "confusion": [[*pair, images] for pair, images in sorted(counts.pairs.items())],
        "confusion_is": "label, prediction, number of images; classes are counted from 0",
        "largest_confusions": [
            {**asdict(confusion), "words": str(confusion)} for confusion in largest_confusions(counts, names, 50)
        ],
        "calibration": counts.calibration,
        "calibration_is": "images, correct predictions and sum of confidences in 15 bins of equal width from 0 to 1",
    }
    figures = {"reliability.png": reliability_figure(counts.calibration)}
    if len({number for pair in counts.pairs for number in pair}) <= MOST_CLASSES:
        figures["confusion.png"] = confusion_figure(confusion_matrix(counts, len(names)), names)
    else:
        complain(f"confusion.png was not written: it would show more than {MOST_CLASSES} classes")
    files = {name: figure_bytes(figure) for name, figure in figures.items()}
    write_files(folder, {**files, "details.json": json_bytes(details), SETTINGS: json_bytes(settings)})


def read_names(file: Path) -> list[str]:
    """Names of classes, in order: a JSON list, or a text with one name per line.

    Raises:
        ValueError: the file has another content.
    """
    from crate_transformer.storage import as_record, parse_json, read_file

    content = read_file(file)
    if file.suffix.lower() == ".json":
        return as_record(parse_json(content, str(file)), list[str], str(file))
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def names_of(model: "Backbone", checkpoint: str, file: Path | None) -> tuple[str, ...]:
    """The classes of the model, from its checkpoint or from ``file``.

    Raises:
        ValueError: neither or both have names, or the number of names differs from the number of classes.
    """
    if file is None:
        if model.class_names is None:
            raise ValueError(
                f"{checkpoint} has {model.num_classes} classes without names, so they cannot be matched with the "
                "folders: give the names in order with --class-names FILE"
            )
        return model.class_names
    if model.class_names is not None:
        raise ValueError(f"{checkpoint} already contains class names: leave --class-names out")
    names = read_names(file)
    if len(names) != model.num_classes or len(set(names)) != len(names):
        raise ValueError(
            f"{file} contains {len(set(names))} different names and {checkpoint} has {model.num_classes} classes: give "
            "one name for each, in order"
        )
    return tuple(names)
