"""Labelled images in tar files, read by offset in any order."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from crate_transformer.data.decode import BrokenImageError
from crate_transformer.data.labelled import LabelledFiles
from crate_transformer.data.tar_index import Shard, TarIndex
from crate_transformer.storage import open_file
from crate_transformer.storage.limits import HOW_TO_RAISE, memory_limit


@dataclass(frozen=True, eq=False)
class ShardImages(LabelledFiles):
    """Labelled images in the tar files of the folder ``root``, or in the tar file ``root``; made by ``open_images``.

    ``rows`` are the rows of the images in ``index``.
    """

    root: Path
    index: TarIndex
    rows: Int64[np.ndarray, " images"]
    labels: list[int] | None
    classes: tuple[str, ...]
    prefix: str = ""
    unreadable: dict[int, str] = field(default_factory=dict)
    part_of: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, indices: Sequence[int]) -> "ShardImages":
        """The images at these positions, in this order, with the same classes."""
        labels = None if self.labels is None else [self.labels[i] for i in indices]
        return self._part(rows=self.rows[np.asarray(indices, np.int64)], labels=labels)

    def keys(self) -> list[str]:
        """16 hex digits for each image, from its name and its size in bytes.

        The name begins with the class folder, as in ``ImageFolder.keys``, or, if labels are beside the images, with the
        name of the tar file.
        """
        digits = self.index.key[self.rows].astype(">u8").tobytes().hex()
        return [digits[start : start + 16] for start in range(0, len(digits), 16)]

    def fingerprint(self) -> str:
        """16 hex digits that depend on the images' keys, their order, labels and classes."""
        digest = sha256("\0".join(self.classes).encode("utf-8", "surrogatepass"))
        digest.update(self.index.key[self.rows].tobytes() + np.array(self.labels or [], np.int64).tobytes())
        return digest.hexdigest()[:16]

    def content(self, index: int) -> bytes:
        """The bytes of one image file.

        Raises:
            BrokenImageError: The file is too large.
            ValueError: Its tar file is missing, changed or truncated.
            OSError: The tar file cannot be read.
        """
        limit, row = memory_limit() // 4, self.rows[index]
        offset, length = int(self.index.offset[row]), int(self.index.length[row])
        if length > limit:
            raise BrokenImageError("", f"{length:,} bytes, more than the limit of {limit:,}; {HOW_TO_RAISE}")
        return self._shard(index).read(offset, length)

    def name(self, index: int) -> str:
        """The name of one image: its name in the tar file (as far as the header contains it), after the name of the tar
        file if there are several.
        """
        file, offset = self._shard(index), int(self.index.offset[self.rows[index]])
        name = file.read(offset - 512, 100).split(b"\0")[0].decode("utf-8", "surrogateescape").removeprefix("./")
        return name if self.root == file.path else f"{file.path.relative_to(self.index.folder)}/{name}"

    def _shard(self, index: int) -> "_OpenShard":
        shard = self.index.shards[self.index.shard[self.rows[index]]]
        return _opened(self.index.folder / shard.name, shard)


class _OpenShard:
    """An open tar file; reading does not use the file position, so forked processes and threads may share it."""

    def __init__(self, path: Path, shard: Shard):
        self.path = path
        try:
            self.file = open_file(path)
        except FileNotFoundError as error:
            raise ValueError(f"{path} is missing but was indexed: put it back") from error
        status = os.fstat(self.file.fileno())
        if (status.st_size, status.st_mtime_ns) != (shard.size, shard.changed):
            raise ValueError(f"{path} has changed since it was indexed: restore it, or restart to index it again")

    def __del__(self) -> None:
        if file := getattr(self, "file", None):  # which could not be opened
            file.close()

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0:
            parts.append(os.pread(self.file.fileno(), length, offset))
            if not parts[-1]:
                raise ValueError(f"{self.path} has been truncated since it was indexed: restore it")
            offset, length = offset + len(parts[-1]), length - len(parts[-1])
        return b"".join(parts)


@lru_cache(maxsize=256)  # below the usual limit of 1,024 open files
def _opened(path: Path, shard: Shard) -> _OpenShard:
    return _OpenShard(path, shard)
