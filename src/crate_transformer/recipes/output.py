"""The output folder of a run: its allowed content before the run, and the content of a finished run."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, get_args

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.checkpoints.native import CONFIG, WEIGHTS
from crate_transformer.configs.execution import Tracker
from crate_transformer.models import Model
from crate_transformer.storage import as_record, printable, recover
from crate_transformer.training.metrics import FILE as METRICS
from crate_transformer.training.state import OtherRun, changed_settings, remove_states

BEST = "best"
FIGURES = {"reconstructions.png"}
"""Figures that some objectives write."""
REPORT = ("metrics.csv", "curves.png", "report.html")
"""Files that ``report_run`` writes at the end of a run."""
_OF_RUNS = {CONFIG, WEIGHTS, METRICS, BEST, *FIGURES, *REPORT, *get_args(Tracker)}
OF_VERSION_0_1 = {"run.json", "split.json"}


class Numbers(TypedDict):
    """The metrics read from every finished run; each task reads further ones."""

    parameters: int
    precision: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The record of a finished run in its checkpoint."""

    experiment: dict[str, object]
    metrics: dict[str, Any]


def check_output(folder: Path) -> None:
    """Check the output folder before a run.

    Raises:
        ValueError: it is not a folder, or contains something that no run of this version writes.
        OSError: it cannot be read.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: choose another output folder")
    recover(folder)
    names = {entry.name for entry in folder.iterdir() if not entry.name.startswith((".", "state-"))}
    if names & OF_VERSION_0_1:
        raise ValueError(
            f"{folder} contains a run of version 0.1, which this version cannot resume: choose another folder"
        )
    if strange := names - _OF_RUNS:
        shown = ", ".join(map(printable, sorted(strange)[:3]))
        raise ValueError(f"{folder} contains {shown}, which is not part of a run: choose another output folder")


def check_not_inside(folder: Path, needed: Mapping[str, str | None]) -> None:
    """Check that no model that the run needs, by setting, is in ``folder``, whose run is to be replaced.

    Raises:
        ValueError: one is.
    """
    for setting, name in needed.items():
        if name and Path(name).exists() and Path(name).resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"overwrite would remove {name}, which {setting} needs: choose another output folder")


def remove_run(folder: Path) -> None:
    """Remove a run, finished or not, and nothing else."""
    remove_states(folder)
    for entry in folder.iterdir():
        if entry.name in _OF_RUNS:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def make_output(folder: Path) -> None:
    """Create the folder of a run, and check that it can be written.

    Raises:
        OSError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise OSError(f"{folder} cannot be written: {error.strerror or error}") from error


@contextmanager
def no_empty_folder(folder: Path) -> Iterator[None]:
    """Afterwards remove the folders down to ``folder`` that were created inside and are empty."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        for path in absent:
            with suppress(OSError):  # it is not empty
                path.rmdir()


def finished_run(folder: Path, settings: Mapping[str, object]) -> tuple[Model, Finished] | None:
    """The model and the record of the run in ``folder``; ``None`` if it has not finished.

    Raises:
        ValueError: the run had other settings, or the checkpoint is damaged or not from a run.
    """
    if not (folder / CONFIG).exists() and not (folder / WEIGHTS).exists():
        return None
    model = load_checkpoint(folder)
    if "experiment" not in model.provenance.metadata:
        raise ValueError(f"{folder} contains a checkpoint that is not from a run: choose another output folder")
    where = f"the metadata in {folder / CONFIG}"
    record = as_record(model.provenance.metadata, Finished, where)
    as_record(record.metrics, Numbers, where)
    if changed := changed_settings({k: v for k, v in record.experiment.items() if k != "data"}, settings):
        raise OtherRun(
            f"{folder} contains a finished run with other settings ({', '.join(sorted(changed))}): "
            "repeat its settings to load it, choose another output folder, or replace it with --overwrite"
        )
    return model, record
