"""Resumable states of a run: tensors and JSON alone, so that nothing can be executed when one is read.

A state is a folder ``state-STEP`` with two files that appear together: ``tensors.safetensors``, the weights, their
average and what the optimisers remember, and ``state.json``, the step and the settings. Learning rates and random
numbers are functions of the seed and the step, so they are not stored. Tensors are stored whole, however they were
divided among processes: another number of them may go on.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from crate_transformer.storage import open_file, read_record, recover, write_file, write_files
from crate_transformer.storage.records import json_text
from crate_transformer.training.precision import MixedPrecision
from crate_transformer.training.processes import Processes
from crate_transformer.training.sharding import copy_whole, whole
from crate_transformer.training.state_tensors import TENSORS, digest, kinds, make_tensors, state_tensors, write_tensors

RECORD = "state.json"
MAY_CHANGE = {"learning_rate", "matrix_learning_rate", "warmup_steps", "clip_grad_norm"}
"""Settings that may be others when a run goes on from before the step where it diverged."""
_HEADER = 16 << 20  # bytes, more than any header of the file of tensors takes

Step = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """At ``step`` the loss or the weights were no longer finite, with this learning rate."""

    step: Step
    learning_rate: float


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``state.json`` says.

    ``run`` are the settings; ``precision``, in Accelerate's words, what ``auto`` was measured to be at first, and
    ``products`` what was measured for Muon's (``None`` in states of earlier versions);
    ``loss_scale`` and ``loss_scale_steps`` those of fp16; ``digest`` the SHA-256 of the tensors; ``diverged`` how the
    run that went on from here ended, where it did so badly; ``restarts`` the earlier times.
    """

    format: Literal["crate-transformer training state"] = "crate-transformer training state"
    format_version: Literal[2] = 2
    step: Step
    run: dict[str, object]
    precision: MixedPrecision
    products: MixedPrecision | None = None
    loss_scale: float = 0.0
    loss_scale_steps: int = 0
    digest: str = ""
    diverged: Divergence | None = None
    restarts: tuple[Divergence, ...] = ()


def save_state(
    processes: Processes, folder: Path, state: State, tensors: Mapping[str, Tensor], *, keep: int = 1
) -> None:
    """Write ``folder/state-STEP``, then remove all but the ``keep`` newest whole states; if anything fails, all stay.

    The main process writes, and the others wait for it.

    Raises:
        OSError: the state cannot be written.
    """
    gathered = ((name, whole(tensor)) for name, tensor in tensors.items())
    stored = {name: tensor.cpu().contiguous() for name, tensor in gathered if processes.is_main}

    def write() -> None:
        files = {
            TENSORS: lambda path: write_tensors(path, stored),
            RECORD: _text(msgspec.structs.replace(state, digest=digest(stored))),
        }
        try:
            write_files(_path(folder, state), files)
        except OSError as error:
            raise OSError(f"the training state could not be saved ({error}): is the disk full?") from error
        complete = sorted(path for path in _states(folder) if (path / RECORD).exists())
        _remove(set(_states(folder)) - set(complete[-keep:]))

    processes.on_main(write)


def note_divergence(folder: Path, state: State, diverged: Divergence) -> None:
    """Say in the state that the run diverged after it, so that it may be resumed with other learning rates."""
    path = _path(folder, state) / RECORD
    old = read_record(path, State)
    restarts = (*old.restarts, *filter(None, [old.diverged]))
    write_file(path, _text(msgspec.structs.replace(old, restarts=restarts, diverged=diverged)))


class OtherRun(ValueError):  # noqa: N818 -- says what is the case
    """A folder holds a run with other settings."""


def find_state(folder: Path, run: Mapping[str, object], *, overwrite: bool = False) -> State | None:
    """The newest state of this run; ``None`` where there is none.

    Args:
        overwrite: states of a run with other settings do not count.

    Raises:
        ValueError: the state belongs to a run with other settings, is damaged, or was not written by this version.
    """
    for path in sorted(_states(folder), reverse=True):
        recover(path)
        names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
        if not names:
            continue  # of a process that died before its first file was complete
        if "progress.json" in names:
            raise ValueError(
                f"{path} is a state of version 0.1, which is read by executing what it holds: "
                "choose another output folder, or remove that state to start again"
            )
        if strange := names - {TENSORS, RECORD}:
            raise ValueError(f"{path} holds {min(strange)}, which belongs to no training state: remove it")
        if names != {TENSORS, RECORD} or _path(folder, state := read_record(path / RECORD, State)) != path:
            raise _damaged(path)
        changed = changed_settings(state.run, json.loads(json.dumps(run)))
        if set(changed) - (MAY_CHANGE if state.diverged else set()):
            if overwrite:
                return None
            raise OtherRun(
                f"{folder} holds an unfinished run with other settings ({', '.join(sorted(changed))}): "
                "repeat its settings to resume it, choose another output folder, or replace it with --overwrite"
            )
        return state
    return None


def changed_settings(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """The names of the settings that differ; where both have a mapping, of those within it."""
    names = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            names += changed_settings(before, after)
        elif before != after:
            names.append(key)
    return names


def load_state(
    folder: Path, state: State, task: nn.Module, average: nn.Module | None, optimizers: Sequence[Optimizer]
) -> None:
    """Put weights, average and the optimisers' tensors back to what they were when ``state`` was saved.

    Raises:
        ValueError: the state is damaged, or its tensors are not those of this task and these optimisers.
    """
    path = _path(folder, state)
    weights = sum(t.numel() * t.element_size() for t in task.state_dict().values())
    largest = 5 * weights + _HEADER  # the weights, their average, and what optimisers remember
    try:
        open_file(path / TENSORS, limit=largest).close()
        stored = load_file(path / TENSORS)
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(path) from error
    for number, optimizer in enumerate(optimizers):
        make_tensors(optimizer, {name.split(".")[2] for name in stored if name.startswith(f"optimizer.{number}.")})
    tensors = state_tensors(task, average, optimizers)
    if kinds(stored) != kinds(tensors) or digest(stored) != state.digest:
        raise _damaged(path)
    for name, tensor in tensors.items():
        copy_whole(tensor, stored[name])


def remove_states(folder: Path) -> None:
    """Remove what only resuming needs, after a run."""
    _remove(_states(folder))


def _path(folder: Path, state: State) -> Path:
    return folder / f"state-{state.step:08d}"


def _states(folder: Path) -> list[Path]:
    return [path for path in folder.glob("state-*") if path.is_dir() and not path.is_symlink()]


def _remove(states: Iterable[Path]) -> None:
    for path in states:
        shutil.rmtree(path)


def _text(state: State) -> bytes:
    return json_text(msgspec.to_builtins(state), indent=1).encode()


def _damaged(path: Path) -> ValueError:
    return ValueError(f"the training state {path} is damaged: remove it to start again")
