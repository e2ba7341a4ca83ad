"""The folder of a run: what may lie there before it begins, and what a finished one holds."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, get_args

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.checkpoints.native import CONFIG, WEIGHTS
from crate_transformer.configs.execution import Tracker
from crate_transformer.models import Model
from crate_transformer.storage import as_record, printable, recover
from crate_transformer.training.metrics import FILE as METRICS
from crate_transformer.training.state import OtherRun, changed_settings, remove_states

BEST = "best"
FIGURES = {"reconstructions.png"}
"""What some objectives leave to look at."""
REPORT = ("metrics.csv", "curves.png", "report.html")
"""What ``report_run`` writes when a run ends."""
_OF_RUNS = {CONFIG, WEIGHTS, METRICS, BEST, *FIGURES, *REPORT, *get_args(Tracker)}
OF_VERSION_0_1 = {"run.json", "split.json"}


class Numbers(TypedDict):
    """What is read again of the numbers of every finished run; each task reads its own besides."""

    parameters: int
    precision: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What the checkpoint of a finished run says of it."""

    experiment: dict[str, object]
    metrics: dict[str, object]


def check_output(folder: Path) -> None:
    """Look at the folder of a run before any work.

    Raises:
        ValueError: it is no folder, or holds what no run of this version writes.
        OSError: it cannot be read.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: choose another output folder")
    recover(folder)
    names = {entry.name for entry in folder.iterdir() if not entry.name.startswith((".", "state-"))}
    if names & OF_VERSION_0_1:
        raise ValueError(
            f"{folder} holds a run of version 0.1, which this version cannot go on with: choose another folder"
        )
    if strange := names - _OF_RUNS:
        shown = ", ".join(map(printable, sorted(strange)[:3]))
        raise ValueError(f"{folder} holds {shown}, which belongs to no run: choose another output folder")


def remove_run(folder: Path) -> None:
    """Remove a run, finished or not, and nothing else."""
    remove_states(folder)
    for entry in folder.iterdir():
        if entry.name in _OF_RUNS:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def make_output(folder: Path) -> None:
    """Make the folder of a run, and see that it can be written.

    Raises:
        OSError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise OSError(f"{folder} could not be written: {error.strerror or error}") from error


@contextmanager
def no_empty_folder(folder: Path) -> Iterator[None]:
    """Removes the folders down to ``folder`` that were made inside and hold nothing, as after a refusal."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        for path in absent:
            with suppress(OSError):  # it holds something
                path.rmdir()


def finished_run(folder: Path, settings: Mapping[str, object]) -> tuple[Model, Finished] | None:
    """The model and the record of the run in ``folder``; ``None`` where it has not finished.

    Raises:
        ValueError: the run had other settings, or the checkpoint there comes from elsewhere or is damaged.
    """
    if not (folder / CONFIG).exists() and not (folder / WEIGHTS).exists():
        return None
    model = load_checkpoint(folder)
    if "experiment" not in model.provenance.metadata:
        raise ValueError(f"{folder} holds a checkpoint that no run wrote: choose another output folder")
    where = f"the metadata in {folder / CONFIG}"
    record = as_record(model.provenance.metadata, Finished, where)
    as_record(record.metrics, Numbers, where)
    if changed := changed_settings({k: v for k, v in record.experiment.items() if k != "data"}, settings):
        raise OtherRun(
            f"{folder} holds a finished run with other settings ({', '.join(sorted(changed))}): "
            "repeat its settings to load it, choose another output folder, or replace it with --overwrite"
        )
    return model, record
