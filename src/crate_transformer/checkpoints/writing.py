"""Files that appear whole or not at all."""

import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path


def write_files(folder: str | Path, files: Mapping[str, bytes | Callable[[Path], None]]) -> Path:
    """Write several files into a folder: all are complete on disk before the first replaces an older one.

    Args:
        folder: made if absent.
        files: name to content, or to a function that writes it to the path it is given; they are put in place in this
            order.

    Raises:
        OSError: one sentence that names the folder; the folder is as before.
    """
    folder = Path(folder)
    existed = folder.exists()
    parts = {name: folder / f".{name}.{uuid.uuid4().hex}.part" for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            if callable(content):
                parts[name].touch()
                mode = parts[name].stat().st_mode
                content(parts[name])
                parts[name].chmod(mode)  # as other new files here: safetensors makes them private
            with parts[name].open("ab") as stream:
                if not callable(content):
                    stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        for name, part in parts.items():
            part.replace(folder / name)
    except OSError as error:
        raise OSError(f"cannot write into {folder}: {error.strerror or error}; nothing there was changed") from error
    finally:
        if folder.is_dir():
            for part in parts.values():
                part.unlink(missing_ok=True)
            if not existed and not any(folder.iterdir()):
                folder.rmdir()
    return folder
