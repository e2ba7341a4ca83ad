"""Resumable states of a run: written whole under a temporary name, then renamed."""

import contextlib
import json
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from accelerate import Accelerator


def save_state(accelerator: Accelerator, folder: Path, step: int, fingerprint: dict[str, object]) -> None:
    """Write ``folder/state-STEP`` and then remove older states; what was there stays if anything fails."""
    target, temporary = folder / f"state-{step:08d}", folder / f".state-{step:08d}.partial"
    try:
        if accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(temporary))
        if accelerator.is_main_process:
            (temporary / "progress.json").write_text(json.dumps({"step": step, "run": fingerprint}, indent=1))
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise OSError(f"the training state could not be saved in {folder}: {error.strerror or error}") from error
    if accelerator.is_main_process:
        for older in set(folder.glob("state-*")) - {target}:
            shutil.rmtree(older)


def find_state(folder: Path, fingerprint: dict[str, object]) -> tuple[Path, int] | None:
    """The newest state of this run and its step; ``None`` where there is none.

    Raises:
        ValueError: the state belongs to a run with other settings.
    """
    states = sorted(folder.glob("state-*"))
    if not states:
        return None
    progress = json.loads((states[-1] / "progress.json").read_text())
    if progress["run"] != json.loads(json.dumps(fingerprint)):
        changed = sorted(k for k in fingerprint if progress["run"].get(k) != json.loads(json.dumps(fingerprint[k])))
        raise ValueError(
            f"{folder} holds an unfinished run with other settings ({', '.join(changed)}): "
            "repeat its settings to resume it, or choose another output folder"
        )
    return states[-1], progress["step"]


def remove_states(folder: Path) -> None:
    """Remove what only resuming needs, at the end of a run."""
    for state in folder.glob("state-*"):
        shutil.rmtree(state)


@contextlib.contextmanager
def stop_between_steps() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C (or SIGTERM) into an event that the loop reads between steps; the second one interrupts."""
    wanted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield wanted
        return

    def handler(number: int, _frame: object) -> None:
        if wanted.is_set():
            raise KeyboardInterrupt
        wanted.set()

    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wanted
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
