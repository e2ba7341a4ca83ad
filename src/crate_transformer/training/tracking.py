"""The numbers of a run in TensorBoard or Weights & Biases too, through Accelerate's trackers."""

from collections.abc import Mapping
from pathlib import Path

from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker

from crate_transformer.configs.execution import Tracker
from crate_transformer.storage import json_text
from crate_transformer.training.metrics import Record
from crate_transformer.training.processes import Processes

_PROJECT = "crate-transformer"


class Tracking:
    """``tracking(record)`` sends the numbers of a step to the tracker of this name; only the main process does.

    Args:
        name: ``None`` sends nothing.
        folder: of the run; each tracker writes into a folder of its own name there.
        settings: what the run is made of, shown beside the curves.
        start: the step that the run goes on from; TensorBoard forgets what came after it.

    Raises:
        ValueError: the package is not installed, or does not start.
    """

    def __init__(
        self, name: Tracker | None, folder: Path, settings: Mapping[str, object], start: int, processes: Processes
    ) -> None:
        self._tracker: GeneralTracker | None = None
        if name is not None:
            processes.on_main(lambda: self._open(name, folder, settings, start))

    def _open(self, name: Tracker, folder: Path, settings: Mapping[str, object], start: int) -> None:
        if name == "tensorboard":
            tracker = TensorBoardTracker(name, folder, purge_step=start + 1)
        else:
            tracker = WandBTracker(_PROJECT, name=folder.name, dir=folder, config=dict(settings), resume="auto")
        try:
            tracker.start()
        except ImportError as error:
            raise ValueError(
                f"tracker is {name}, which is not installed: pip install 'crate-transformer[train]'"
            ) from error
        except Exception as error:  # wandb raises its own errors without a key or a network
            raise ValueError(f"{name} did not start: {error}; WANDB_MODE=offline needs no network") from error
        if name == "tensorboard":
            tracker.log({"settings": json_text(settings)}, step=start)
        self._tracker = tracker

    def __call__(self, record: Record) -> None:
        if self._tracker is not None:
            self._tracker.log({key: value for key, value in record.items() if key != "step"}, step=int(record["step"]))

    def finish(self) -> None:
        """Nothing comes any more."""
        if self._tracker is not None:
            self._tracker.finish()
