"""An index of all images in tar files: made once, stored in a file, and checked when it is opened."""

import logging
import os
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64, UInt64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from crate_transformer.data.tar_members import tar_pictures
from crate_transformer.progress import tracked
from crate_transformer.storage import as_record, json_text, open_file, parse_json, write_file
from crate_transformer.storage.limits import memory_limit

_LOG = logging.getLogger("crate_transformer.data")
_SUFFIX = "crate_index.safetensors"
_FORMAT = "crate-transformer index of tar files 1"
_MOST_CLASSES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Name, size and modification time (``changed``, in nanoseconds) of a tar file when it was indexed."""

    name: str
    size: int
    changed: int


@dataclass(frozen=True, eq=False)
class TarIndex:
    """Tar file, offset and length in bytes, label and key of every image in the tar files of ``folder``.

    ``labels`` are those of ``TarPicture``.
    """

    folder: Path
    shards: tuple[Shard, ...]
    labels: tuple[str, ...]
    shard: Int32[np.ndarray, " pictures"]
    offset: Int64[np.ndarray, " pictures"]
    length: Int64[np.ndarray, " pictures"]
    label: Int32[np.ndarray, " pictures"]
    key: UInt64[np.ndarray, " pictures"]


@dataclass(frozen=True, kw_only=True)
class _Header:
    shards: tuple[Shard, ...]
    labels: tuple[str, ...]


def open_index(path: Path, names: Sequence[str]) -> TarIndex:
    """The index of the tar files ``names`` in the folder ``path``, or of the tar file ``path``.

    If there is none yet, it is made by reading all headers. It is stored beside the tar files in
    ``crate_index.safetensors`` or, if that folder is not writable, in the user's cache folder (``XDG_CACHE_HOME``).

    Raises:
        ValueError: A tar file is missing, new, damaged or has changed since it was indexed, or the index is damaged.
        OSError: A tar file cannot be read.
    """
    folder, before = (path, "") if path.is_dir() else (path.parent, f"{path.name}.")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crate-transformer"
    place = sha256(str(path.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    files = folder / f"{before}{_SUFFIX}", cache / f"{place}.{_SUFFIX}"
    for file in files:
        if file.exists():
            index = _load(file, folder)
            _compare(index, names, file)
            return index
    index = _make(folder, names)
    header = json_text(asdict(_Header(shards=index.shards, labels=index.labels)))
    content = save({name: getattr(index, name) for name in _ARRAYS}, metadata={"format": _FORMAT, "index": header})
    for file in files:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, content)
        except OSError:
            continue
        return index
    _LOG.warning("neither %s nor %s can be written: the next command will index %s again", *files, path)
    return index


_ARRAYS = {"shard": np.int32, "offset": np.int64, "length": np.int64, "label": np.int32, "key": np.uint64}


def _make(folder: Path, names: Sequence[str]) -> TarIndex:
    shards, numbers, left_out = [], {}, Counter()
    columns = {"shard": array("i"), "offset": array("q"), "length": array("q"), "label": array("i"), "key": array("Q")}
    for number, name in enumerate(tracked(f"indexing {folder}", names, len(names))):
        status = (folder / name).stat()
        shards.append(Shard(name=name, size=status.st_size, changed=status.st_mtime_ns))
        for picture in tar_pictures(folder / name, left_out):
            identity = f"{picture.identity}\0{picture.length}".encode("utf-8", "surrogatepass")
            columns["shard"].append(number)
            columns["offset"].append(picture.offset)
            columns["length"].append(picture.length)
            columns["label"].append(numbers.setdefault(picture.label, len(numbers)))
            columns["key"].append(int.from_bytes(sha256(identity).digest()[:8], "big"))
            if len(numbers) > _MOST_CLASSES:
                raise ValueError(f"{folder} has more than {_MOST_CLASSES:,} labels: these are not classes")
    if counted := [f"{count:,} {reason}" for reason, count in sorted(left_out.items()) if count]:
        _LOG.warning("%s: skipped %s", folder, ", ".join(counted))
    arrays = {name: np.array(columns[name], dtype) for name, dtype in _ARRAYS.items()}
    return TarIndex(folder, tuple(shards), tuple(numbers), **arrays)


def _load(file: Path, folder: Path) -> TarIndex:
    """Read and validate an index from an untrusted file."""
    open_file(file, limit=memory_limit()).close()  # never a device or a pipe
    try:
        with safe_open(file, framework="numpy") as content:
            metadata = content.metadata() or {}
            arrays = {name: content.get_tensor(name) for name in _ARRAYS}
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise _damaged(file, str(error)) from error
    if metadata.get("format") != _FORMAT:
        raise _damaged(file, "it has another format or version")
    header = as_record(parse_json(metadata.get("index", "").encode(), str(file)), _Header, str(file))
    sizes = np.array([min(shard.size, 1 << 62) for shard in header.shards], np.int64)
    index = TarIndex(folder, header.shards, header.labels, **arrays) if _is_column(arrays) else None
    if index is None or not (
        _below(index.shard, len(sizes))
        and _below(index.label, len(header.labels))
        and (index.offset >= 512).all()
        and (index.length >= 0).all()
        and (index.length <= sizes[index.shard]).all()
        and (index.offset <= sizes[index.shard] - index.length).all()
    ):
        raise _damaged(file, "it points outside the tar files")
    return index


def _is_column(arrays: dict[str, np.ndarray]) -> bool:
    return all(arrays[name].dtype == dtype for name, dtype in _ARRAYS.items()) and (
        len({found.shape for found in arrays.values()}) == 1 and arrays["key"].ndim == 1
    )


def _below(numbers: Int32[np.ndarray, " pictures"], end: int) -> bool:
    return bool(((numbers >= 0) & (numbers < end)).all())


def _damaged(file: Path, reason: str) -> ValueError:
    return ValueError(f"{file} is not a readable index of tar files ({reason}): delete it, and it will be made again")


def _compare(index: TarIndex, names: Sequence[str], file: Path) -> None:
    """Refuse an index that does not match the existing tar files."""
    again = f"delete {file} to index again"
    indexed, found = [shard.name for shard in index.shards], set(names)
    if missing := [name for name in indexed if name not in found]:
        raise ValueError(f"{index.folder / missing[0]} is missing but was indexed: put it back, or {again}")
    if new := sorted(found - set(indexed)):
        raise ValueError(f"{index.folder / new[0]} is new since {index.folder} was indexed: {again}")
    for shard in index.shards:
        status = (index.folder / shard.name).stat()
        if (status.st_size, status.st_mtime_ns) != (shard.size, shard.changed):
            how = f"{status.st_size:,} bytes instead of {shard.size:,}" if status.st_size != shard.size else "its date"
            raise ValueError(
                f"{index.folder / shard.name} has changed since it was indexed ({how}): restore it, or {again}"
            )
