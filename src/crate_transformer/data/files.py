"""Folders and zip files alike: what they hold, and the bytes of one file."""

import os
import zipfile
from functools import lru_cache
from pathlib import Path


def list_files(container: Path) -> list[str]:
    """Every file in a folder or zip file, and every folder with a slash at its end; sorted, hidden ones left out.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It is neither a folder nor a readable zip file.
    """
    if not container.exists():
        raise FileNotFoundError(f"{container} does not exist")
    names = set(_below(container)) if container.is_dir() else set(_archive(container, os.getpid()).namelist())
    for name in list(names):
        while name := name.rstrip("/").rpartition("/")[0]:
            if f"{name}/" in names:
                break
            names.add(f"{name}/")
    return sorted(name for name in names if not any(part.startswith((".", "__MACOSX")) for part in name.split("/")))


def read_bytes(container: Path, name: str) -> bytes:
    """One file out of a folder or zip file; ``OSError`` or ``ValueError`` say why not."""
    if container.is_dir():
        return (container / name).read_bytes()
    try:
        return _archive(container, os.getpid()).read(name)
    except Exception as error:  # zipfile reports damage, encryption and unknown methods in many ways
        raise ValueError(str(error) or type(error).__name__) from error


def _below(folder: Path) -> list[str]:
    names = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        start = Path(parent).relative_to(folder)
        names += [f"{(start / name).as_posix()}/" for name in folders] + [(start / name).as_posix() for name in files]
    return names


@lru_cache(maxsize=8)
def _archive(path: Path, process: int) -> zipfile.ZipFile:
    """The open zip file, opened anew in every process because forked ones would share the position in the file."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} is neither a folder nor a readable zip file ({error})") from error
