"""Which options of ``crate evaluate`` go together: one that would be ignored is refused."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crate_transformer.cli.options import given

if TYPE_CHECKING:
    from crate_transformer.cli.evaluate import Command
    from crate_transformer.models import Model

_OF_DATA = ("tokenizer", "class_names", "batch_size", "workers", "real", "report")
_OF_SEGMENTATION = ("maskcut_size", "layer")
_OF_ATTENTION = ("size", "seed", *_OF_SEGMENTATION)


def check_options(command: "Command") -> None:
    """Check the options before anything is loaded.

    Raises:
        ValueError: one is missing, or would be ignored.
    """
    if command.limit is not None and command.limit < 4:
        raise ValueError(f"--limit is {command.limit}: at least 4 images are needed")
    if command.annotated and (command.data is not None or command.boxes is not None):
        raise ValueError("--segmentation and --parts contain images and masks: leave --data and --boxes out")
    if command.baseline and not command.parts:
        raise ValueError("--baseline is a control of --parts FOLDER, which is missing")
    if command.boxes is not None and command.data is None:
        raise ValueError("--boxes needs the folder or zip of the images: --data FOLDER")
    if not command.annotated and command.data is None:
        raise ValueError("give the data: --data FOLDER, or --segmentation FOLDER for masks")
    if not (command.annotated or command.boxes):
        _refuse(command, _OF_ATTENTION, "it is for --segmentation, --parts and --boxes")
        return
    _refuse(command, _OF_DATA, "--segmentation, --parts and --boxes do not use it")
    if not command.segmentation:
        _refuse(command, _OF_SEGMENTATION, "it is for --segmentation")
    if command.output and command.output.suffix == ".html":
        raise ValueError(f"--output is {command.output}: give a JSON file, a page is written beside it")


def check_kind(command: "Command", model: "Model") -> None:
    """Raise ``ValueError`` if an option would be ignored because the model is of another kind."""
    from crate_transformer.models import LanguageModel, Segmenter

    if command.limit and not isinstance(model, Segmenter):
        raise ValueError(f"{command.checkpoint} is not a segmenter: --limit is for images with masks or boxes")
    if command.tokenizer and not isinstance(model, LanguageModel):
        raise ValueError(f"{command.checkpoint} is not a language model: leave --tokenizer out")


def _refuse(command: "Command", names: Sequence[str], why: str) -> None:
    for option in given(command, names):
        raise ValueError(f"{option} would be ignored: {why}")
