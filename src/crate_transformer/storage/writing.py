"""Atomic writing of one or several files."""

import json
import os
import platform
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

import psutil

from crate_transformer.storage.reading import read_file

UNFINISHED = ".unfinished"
"""Folder inside a target folder where files are written before they are moved; one sub-folder per process."""
_JOURNAL = "journal.json"
_LONGEST_JOURNAL = 1 << 30  # bytes
_PATIENCE = 10.0  # seconds to wait for another process that is moving files
_FOREIGN_SECONDS = 3600.0  # after which a process on another machine counts as dead


def write_file(path: str | Path, content: bytes | Callable[[Path], None]) -> Path:
    """Write one file atomically; see ``write_files``."""
    path = Path(path)
    write_files(path.parent, {path.name: content})
    return path


def write_files(
    folder: str | Path, files: Mapping[str, bytes | Callable[[Path], None]], *, remove: Iterable[str] = ()
) -> Path:
    """Write several files into a folder together: readers later find all of them new, or all as before.

    They are first completed on disk under ``.unfinished``. Then a journal lists them, and they are renamed. If the
    process dies before the journal is written, nothing has changed; if it dies later, the next ``recover`` finishes the
    work, and every ``write_files`` begins with ``recover``. No other files remain.

    Args:
        folder: created if it does not exist.
        files: name, which may include sub-folders (``masks/1.png``) -> content, or a function that writes the content
            to a given path.
        remove: names of files to remove at the same time, if they exist.

    Raises:
        ValueError: a name points outside the folder, directly or through a link.
        OSError: the folder cannot be written; it is unchanged.
    """
    folder = Path(folder)
    targets = {name: _inside(folder, name) for name in files}
    removed = [name for name in remove if _inside(folder, name)]
    name, target = list(targets.items())[-1]
    existed = folder.exists()
    try:
        recover(folder)
        staging = _make_staging(folder)
        journal, parts = staging / _JOURNAL, {name: staging / str(index) for index, name in enumerate(files)}
        try:
            for name, content in files.items():
                _write_part(parts[name], content)
            for target in targets.values():
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.is_dir():
                    raise IsADirectoryError(f"{target.name} is a folder")
                if not os.access(target.parent, os.W_OK):
                    raise PermissionError(f"{target.parent} is read-only")
            if len(files) == 1 and not removed:
                parts[name].replace(target)
            else:
                order = json.dumps({"move": {part.name: name for name, part in parts.items()}, "remove": removed})
                _write_part(staging / "order", order.encode())
                (staging / "order").rename(journal)
        finally:
            try:
                _finish(folder, staging)
            finally:  # Ctrl-C while files were moved: move the rest before leaving
                _finish(folder, staging)
                _remove(staging)
    except OSError as error:
        if not existed and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        place = f"into {folder}" if len(files) > 1 else folder / name
        raise OSError(f"cannot write {place}: {error.strerror or error}; nothing there was changed") from error
    return folder


def recover(folder: str | Path) -> None:
    """Move the files that dead processes had completed in ``folder``, and remove their incomplete ones.

    Raises:
        OSError: the folder cannot be written, or a running process keeps moving files for ten seconds.
    """
    unfinished = Path(folder) / UNFINISHED
    if not unfinished.is_dir() or unfinished.is_symlink():
        return
    for staging in sorted(unfinished.iterdir()):
        deadline = time.monotonic() + _PATIENCE
        while (alive := _is_alive(staging)) and (staging / _JOURNAL).exists():
            if time.monotonic() > deadline:
                raise OSError(f"another process is writing into {folder}: wait until it has finished")
            time.sleep(0.02)
        if not alive:
            _finish(Path(folder), staging)
            _remove(staging)


def _finish(folder: Path, staging: Path) -> None:
    """Move the files listed in the journal; without a readable journal nothing was complete, or nothing is left."""
    journal = staging / _JOURNAL
    try:
        order = json.loads(read_file(journal, limit=_LONGEST_JOURNAL))
        removed = [_inside(folder, name) for name in order["remove"]]
        moves = {staging / str(int(part)): _inside(folder, name) for part, name in order["move"].items()}
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return
    for target in removed:
        if not target.is_dir():
            target.unlink(missing_ok=True)
    for part, target in moves.items():
        if part.is_file() and not part.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)
    journal.unlink()


def _make_staging(folder: Path) -> Path:
    staging = folder / UNFINISHED / _process(os.getpid())
    if staging.parent.is_symlink():
        raise OSError(f"{staging.parent} is a link: remove it")
    for _ in range(100):  # another process may be removing the empty parent folder
        staging.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _fresh(staging)
        except FileNotFoundError:
            continue
    raise OSError(f"{staging.parent} is repeatedly removed by another process")


def _fresh(staging: Path) -> Path:
    """A separate folder for this call, because another thread may be writing too."""
    for number in range(1000):
        candidate = staging.with_name(f"{staging.name}-{number}")
        try:
            candidate.mkdir()
        except FileExistsError:
            continue
        return candidate
    raise OSError(f"{staging.parent} is full of unfinished files")


def _write_part(part: Path, content: bytes | Callable[[Path], None]) -> None:
    if callable(content):
        part.touch()
        mode = part.stat().st_mode
        try:
            content(part)
        except RuntimeError as error:  # raised by PyTorch if a file cannot be written
            raise OSError(" ".join(str(error).split())) from error
        part.chmod(mode)  # as for other new files: safetensors makes them private
    with part.open("ab") as stream:
        if not callable(content):
            stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _remove(staging: Path) -> None:
    """Remove the folder of one process, and its parent folder if it was the last one."""
    if staging.is_dir() and not staging.is_symlink():
        shutil.rmtree(staging, ignore_errors=True)
    else:
        staging.unlink(missing_ok=True)
    try:
        staging.parent.rmdir()
    except OSError:
        return  # not empty, or already removed


def _inside(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or UNFINISHED in path.parts:
        raise ValueError(f"{name!r} is not a file name inside a folder")
    target = folder / path
    if folder.resolve() not in (target.parent.resolve() / "file").parents:
        raise ValueError(f"{target.parent} is a link that points outside {folder}: remove it")
    return target


def _process(pid: int) -> str:
    """Identifies a process by machine, id and start time, because ids are reused."""
    return f"{zlib.crc32(platform.node().encode()):08x}-{pid}-{int(psutil.Process(pid).create_time())}"


def _is_alive(staging: Path) -> bool:
    """Whether the process that writes into this folder exists; on another machine, whether it wrote within an hour."""
    named = re.fullmatch(r"(([0-9a-f]{8})-(\d{1,9})-\d+)-\d+", staging.name)
    if not named:
        return False
    try:
        if named[2] != _process(os.getpid()).partition("-")[0]:
            return time.time() - staging.stat().st_mtime < _FOREIGN_SECONDS
        return named[1] == _process(int(named[3]))
    except (psutil.Error, OSError):
        return False
