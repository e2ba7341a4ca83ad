"""CIFAR-10 and CIFAR-100 in the authors' binary version (Krizhevsky, 2009)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from crate_transformer.data.labelled import LabelledFiles
from crate_transformer.data.parts import Split
from crate_transformer.storage import read_file

SIDE = 32
_PIXELS = 3 * SIDE * SIDE
_LARGEST = 1 << 28  # bytes of a file; CIFAR's files have at most 154 MB


_FOLDERS = ("", "cifar-10-batches-bin", "cifar-100-binary", "cifar-10-batches-py", "cifar-100-python")


@dataclass(frozen=True)
class _Layout:
    """The files of one of the sets, and two files of its Python version.

    An image is stored as ``labels`` bytes, the last of which is its class, followed by its pixels.
    """

    names: str
    training: tuple[str, ...]
    test: str
    labels: int
    pickles: tuple[str, str]


_CIFAR10 = _Layout(
    names="batches.meta.txt",
    training=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test="test_batch.bin",
    labels=1,
    pickles=("data_batch_1", "batches.meta"),
)
_CIFAR100 = _Layout(
    names="fine_label_names.txt", training=("train.bin",), test="test.bin", labels=2, pickles=("train", "meta")
)


@dataclass(frozen=True, eq=False)
class CIFARImages(LabelledFiles):
    """Images of 32 x 32 pixels; ``rows`` are their indices in ``pixels``, and ``prefix`` is ``train`` or ``test``."""

    root: Path
    pixels: UInt8[np.ndarray, "all 3 32 32"]
    rows: Sequence[int]
    labels: list[int]
    classes: tuple[str, ...]
    prefix: str = ""
    unreadable: dict[int, str] = field(default_factory=dict)
    part_of: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, index: int) -> str:
        """The part and number of one image."""
        return f"{self.prefix} {self.rows[index]}"

    def subset(self, indices: Sequence[int]) -> "CIFARImages":
        """The images at these positions, in this order, with the same classes."""
        rows, labels = ([of[i] for i in indices] for of in (self.rows, self.labels))
        return self._part(rows=rows, labels=labels)

    def keys(self) -> list[str]:
        """16 hex digits from the pixels of each image."""
        return [sha256(self.pixels[row].tobytes()).hexdigest()[:16] for row in self.rows]

    def content(self, index: int) -> bytes:
        """One image as a BMP file, because CIFAR has no file per image."""
        file = BytesIO()
        self.read(index).save(file, "BMP")
        return file.getvalue()

    def read(self, index: int, at_least: Callable[[int, int], tuple[float, float]] | None = None) -> Image.Image:
        """One image as a Pillow image, in its own size."""
        return Image.fromarray(np.ascontiguousarray(self.pixels[self.rows[index]].transpose(1, 2, 0)))


def find_cifar(path: Path) -> Split[CIFARImages] | None:
    """The training and test images of CIFAR in a folder or one of its sub-folders; ``None`` if there are none.

    Raises:
        ValueError: A file is missing or damaged, or it is the Python version, whose pickles could run code.
    """
    if not path.is_dir():
        return None
    for folder, layout in product((path / name for name in _FOLDERS), (_CIFAR10, _CIFAR100)):
        if (folder / layout.names).is_file() and (folder / layout.test).is_file():
            return _open(folder, layout)
        if all((folder / name).is_file() for name in layout.pickles):
            raise ValueError(
                f"{folder} is the Python version of CIFAR, whose pickles could run code: use the binary version, "
                "cifar-10-binary.tar.gz or cifar-100-binary.tar.gz, and unpack it"
            )
    return None


def _open(folder: Path, layout: _Layout) -> Split[CIFARImages]:
    names = tuple(read_file(folder / layout.names, limit=1 << 16).decode("utf-8", "replace").split())
    train, test = (_read(folder, files, layout, names) for files in (layout.training, (layout.test,)))
    train, test = (
        CIFARImages(folder, pixels, range(len(pixels)), labels, names, prefix)
        for prefix, (pixels, labels) in (("train", train), ("test", test))
    )
    return Split(train, test, f"training and test images of {folder}", divided_here=False)


def _read(
    folder: Path, files: Sequence[str], layout: _Layout, names: Sequence[str]
) -> tuple[UInt8[np.ndarray, "all 3 32 32"], list[int]]:
    """Pixels and labels of all images in these files."""
    parts, size = [], layout.labels + _PIXELS
    for file in files:
        content = read_file(folder / file, limit=_LARGEST)
        if not content or len(content) % size:
            raise ValueError(
                f"{folder / file} is truncated or damaged: its {len(content):,} bytes are not a multiple of {size:,}"
            )
        parts.append(np.frombuffer(content, np.uint8).reshape(-1, size))
        if (largest := int(parts[-1][:, layout.labels - 1].max())) >= len(names):
            raise ValueError(
                f"{folder / file} is damaged: it contains the class {largest}, but {layout.names} lists {len(names)}"
            )
    records = np.concatenate(parts)
    pixels = np.ascontiguousarray(records[:, layout.labels :]).reshape(-1, 3, SIDE, SIDE)
    return pixels, records[:, layout.labels - 1].tolist()
