"""Listing and reading files in folders and zip files."""

import heapq
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from crate_transformer.data.archive import open_archive
from crate_transformer.storage import read_file

_LOG = logging.getLogger("crate_transformer.data")
_CLUTTER = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information", "thumbs.db"}
_OUTPUTS = (
    {"report.html", "results.json"},
    {"report.html", "metrics.json"},
    {"coco_results.json", "results.json"},
    {"config.json", "model.safetensors"},
    {"metrics.jsonl"},
    {"bench.json"},
    {"crate_run.json"},
)
"""Each of these sets of files shows that a command of this package wrote the folder."""


def list_files(container: Path) -> list[str]:
    """All files in a folder or zip file, and all folders (ending in a slash), sorted.

    Links are followed, but every file and folder is listed once. Skipped are links to something already listed, hidden
    files, system files (``@eaDir``, ``__MACOSX``, ``Thumbs.db``, ...), and folders inside ``container`` that a command
    of this package wrote. Warnings report skipped links and output folders.

    Raises:
        FileNotFoundError: The container does not exist.
        ValueError: It is neither a folder nor a readable zip file, or a link points to a folder that contains it.
        OSError: A folder cannot be listed.
    """
    if not container.exists():
        raise FileNotFoundError(f"{container} does not exist")
    names = _below(container) if container.is_dir() else with_folders(open_archive(container).entries)
    return sorted(_without_outputs(container, names))


def read_bytes(container: Path, name: str, *, limit: int) -> bytes:
    """The content of one file, of at most ``limit`` bytes, in a folder or zip file.

    Raises:
        OSError: The file does not exist or cannot be read.
        ValueError: It is not a regular file, too large or damaged, or ``name`` is outside the container.
    """
    if not container.is_dir():
        return open_archive(container).read(name, limit=limit)
    inside = Path(name)
    if name.startswith("/") or inside.is_absolute() or ".." in inside.parts:
        raise ValueError(f"{name} is not inside {container}")
    return read_file(container / inside, limit=limit)


def file_sizes(container: Path, names: Iterable[str]) -> list[int]:
    """Size of each file in bytes, 0 if it does not exist."""
    if not container.is_dir():
        entries = open_archive(container).entries
        return [entries[name].file_size if name in entries else 0 for name in names]
    return [_size(f"{container}/{name}") for name in names]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


def _below(root: Path) -> set[str]:
    """Files and folders below a folder, then targets of links that were not found before."""
    found: set[str] = set()
    links: list[tuple[str, str]] = []
    seen: set[tuple[int, int]] = set()
    linked: set[tuple[int, int]] = set()  # files found through a link

    def walk(prefix: str, path: str) -> None:
        folders = [(prefix, path)]
        while folders:
            prefix, path = folders.pop()
            device, number = _identity(path)
            if (device, number) in seen:
                continue
            seen.add((device, number))
            if prefix:
                found.add(prefix)
            with os.scandir(path) as entries:
                for entry in entries:
                    if is_clutter(entry.name):
                        continue
                    if entry.is_symlink():
                        heapq.heappush(links, (prefix + entry.name, entry.path))
                    elif entry.is_dir():
                        folders.append((f"{prefix}{entry.name}/", entry.path))
                    elif (identity := (device, entry.inode())) not in linked:
                        seen.add(identity)
                        found.add(prefix + entry.name)

    walk("", str(root))
    repeated = 0
    while links:
        name, path = heapq.heappop(links)
        try:
            is_folder, identity = os.path.isdir(path), _identity(path)  # noqa: PTH112
        except OSError:  # a broken link: reading it reports the error
            found.add(name)
            continue
        if is_folder and Path(path).resolve() in (Path(path).parent.resolve() / "link").parents:
            raise ValueError(f"{path} is a link to a folder that contains it: remove it")
        if identity in seen:
            repeated += 1
        elif is_folder:
            walk(f"{name}/", path)
        else:
            linked.add(identity)
            seen.add(identity)
            found.add(name)
    if repeated:
        _LOG.warning("%s: skipped %d links to files that are already listed", root, repeated)
    return found


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116
    return status.st_dev, status.st_ino


def with_folders(files: Iterable[str]) -> set[str]:
    """The files and folders of a zip file, whether or not it has entries for the folders."""
    names = {name for name in files if not any(map(is_clutter, name.rstrip("/").split("/")))}
    for name in list(names):
        while name := name.rstrip("/").rpartition("/")[0]:
            if f"{name}/" in names:
                break
            names.add(f"{name}/")
    return names


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is hidden or a system file."""
    return name[:1] == "." or name.lower() in _CLUTTER


def _without_outputs(container: Path, names: set[str]) -> set[str]:
    """The names without folders that a command of this package wrote, and without folders that contain only these."""
    signs = set().union(*_OUTPUTS)
    present: dict[str, set[str]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder and file in signs:
            present.setdefault(f"{folder}/", set()).add(file)
    outputs = tuple(folder for folder, files in present.items() if any(sign <= files for sign in _OUTPUTS))
    if not outputs:
        return names
    _LOG.warning("%s: skipped output folders of crate: %s", container, ", ".join(sorted(outputs)))
    kept = {name for name in names if not name.startswith(outputs)}
    for folder in outputs:
        while folder := f"{folder.rstrip('/').rpartition('/')[0]}/".lstrip("/"):
            if any(name.startswith(folder) and not name.endswith("/") for name in kept):
                break
            kept = {name for name in kept if not name.startswith(folder)}
    return kept
