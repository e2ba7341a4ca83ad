"""Resumable states of a run: written whole under a temporary name, then renamed."""

import contextlib
import json
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

from accelerate import Accelerator
from safetensors import SafetensorError


def save_state(accelerator: Accelerator, folder: Path, step: int, fingerprint: dict[str, object]) -> None:
    """Write ``folder/state-STEP`` and then remove older states; what was there stays if anything fails."""
    target, temporary = folder / f"state-{step:08d}", folder / f".state-{step:08d}.partial"
    try:
        if accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(temporary))
        if accelerator.is_main_process:
            progress = json.dumps({"step": step, "run": fingerprint}, indent=1)
            (temporary / "progress.json").write_text(progress, encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
    except (OSError, RuntimeError, SafetensorError) as error:
        # what Python, PyTorch and safetensors raise when a disk is full
        shutil.rmtree(temporary, ignore_errors=True)
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OSError(f"the training state could not be saved in {folder} ({reason}): is the disk full?") from error
    if accelerator.is_main_process:
        for older in set(_states(folder)) - {target}:
            shutil.rmtree(older)


def find_state(folder: Path, fingerprint: dict[str, object]) -> tuple[Path, int] | None:
    """The newest state of this run and its step; ``None`` where there is none.

    Raises:
        ValueError: the state belongs to a run with other settings.
    """
    states = sorted(folder.glob("state-*"))
    if not states:
        return None
    progress = json.loads((states[-1] / "progress.json").read_text(encoding="utf-8"))
    changed = changed_settings(progress["run"], json.loads(json.dumps(fingerprint)))
    if changed:
        raise ValueError(
            f"{folder} holds an unfinished run with other settings ({', '.join(changed)}): "
            "repeat its settings to resume it, or choose another output folder"
        )
    return states[-1], progress["step"]


def changed_settings(old: dict[str, object], new: dict[str, object]) -> list[str]:
    """The names of the settings that differ; where both have a mapping, of those within it."""
    names = []
    for key in sorted(old | new):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            names += changed_settings(before, after)
        elif before != after:
            names.append(key)
    return names


def load_state(accelerator: Accelerator, state: Path) -> None:
    """Put everything that was prepared back to where ``save_state`` found it.

    Raises:
        ValueError: the state is damaged.
    """
    try:
        accelerator.load_state(str(state))
    except (OSError, RuntimeError, ValueError, LookupError, EOFError, UnpicklingError, SafetensorError) as error:
        raise ValueError(f"the training state {state} is damaged: remove it to start again") from error


def remove_states(folder: Path) -> None:
    """Remove what only resuming needs, after a run."""
    for state in _states(folder):
        shutil.rmtree(state)


def _states(folder: Path) -> list[Path]:
    """Whole states, and the partial ones of killed processes."""
    return [*folder.glob("state-*"), *folder.glob(".state-*.partial")]


@dataclass
class Stop:
    """Whether this process was asked to stop."""

    wanted: bool = False


def stop_wanted(accelerator: Accelerator, stop: Stop) -> bool:
    """Whether any process was asked to stop: all of them get the same answer at the same step."""
    if accelerator.num_processes == 1:
        return stop.wanted
    if stop.wanted:
        accelerator.set_trigger()
    return accelerator.check_trigger()


@contextlib.contextmanager
def stop_between_steps() -> Iterator[Stop]:
    """Turn the first Ctrl-C (or SIGTERM) into a wish that the loop reads between steps; the second one interrupts."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handler(number: int, _frame: object) -> None:
        if stop.wanted:
            raise KeyboardInterrupt
        stop.wanted = True

    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
