"""Pack the training photographs small enough to travel to a GPU machine: one .npz of WebP bytes with labels.

python benchmarks/prepare_gpu_data.py ../shared/data .gl/photographs.npz

Tiny-ImageNet-100 is encoded again at a lower quality; so is Caltech (88 classes), squeezed to 96 x 96 pixels after its
longer side was cut to 4:3 of the shorter. Every fifth validation image travels, with its own bytes, so that accuracy is
measured there and here on the same pixels. Class names are those of ``open_split``; Caltech's follow them.
"""

import argparse
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from crate_transformer.data import open_images, open_split
from crate_transformer.data.files import read_bytes
from crate_transformer.storage.limits import memory_limit

CALTECH_SIDE = 96


def encode(image: Image.Image, quality: int) -> bytes:
    """WebP bytes, as small as the encoder can make them at this quality."""
    stream = io.BytesIO()
    image.save(stream, "webp", quality=quality, method=6)
    return stream.getvalue()


def squared(image: Image.Image, side: int) -> Image.Image:
    """The middle of a picture, at most 4:3, squeezed into a square."""
    width, height = image.size
    longest = min(width, height) * 4 // 3
    left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
    box = (left, top, left + min(width, longest), top + min(height, longest))
    return image.resize((side, side), Image.Resampling.BICUBIC, box=box)


def joined(name: str, pieces: Iterable[bytes]) -> dict[str, np.ndarray]:
    """All bytes in one array, and where each picture ends."""
    pieces = list(pieces)
    ends = np.cumsum([len(piece) for piece in pieces])
    return {f"{name}_bytes": np.frombuffer(b"".join(pieces), np.uint8), f"{name}_ends": ends}


def main() -> None:
    """Read, encode, write, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with tiny_imagenet_100 and caltech88")
    parser.add_argument("output", type=Path)
    parser.add_argument("--quality", type=int, default=38)
    parser.add_argument("--every", type=int, default=1, help="keep only every n-th picture, for a rehearsal")
    arguments = parser.parse_args()

    split, caltech = (
        open_split(arguments.data / "tiny_imagenet_100"),
        open_images(arguments.data / "caltech88/train.zip"),
    )
    train, more, val = (
        range(0, len(images), arguments.every * step)
        for images, step in ((split.train, 1), (caltech, 1), (split.val, 5))
    )
    labels = {
        "train_labels": np.array([split.train.labels[i] for i in train]),
        "more_labels": np.array([caltech.labels[i] for i in more]) + len(split.train.classes),
        "val_labels": np.array([split.val.labels[i] for i in val]),
    }
    arrays = {
        **joined("train", (encode(split.train.read(i), arguments.quality) for i in train)),
        **joined("more", (encode(squared(caltech.read(i), CALTECH_SIDE), arguments.quality) for i in more)),
        **joined("val", (read_bytes(split.val.root, split.val.names[i], limit=memory_limit()) for i in val)),
        "classes": np.array(split.train.classes),
        "more_classes": np.array(caltech.classes),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    part = arguments.output.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez(stream, **labels, **arrays)
    part.replace(arguments.output)
    size = arguments.output.stat().st_size / 2**20
    print(f"{arguments.output}: {size:.1f} MiB, {len(train)} + {len(more)} + {len(val)} pictures")


if __name__ == "__main__":
    main()
