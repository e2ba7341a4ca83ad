"""How fast training pictures are read: decode, random-resized crop to 224 pixels and flip, beside a plain Pillow loop.

python benchmarks/decode.py [--sides 256 500 1000 2000 4000] [--turns 40]

One thread. Photographs of ``data.photographs``, resized to these longer sides and saved as JPEG of quality 90 in a
temporary folder, are read by ``ImageFolder`` and ``TrainView``, and with the same crop by Pillow alone, which is handed
the crop's box. The two take turns, each going first every second time. What counts is the processor's time, so that
other work on the machine disturbs less. Prints a Markdown table: medians in milliseconds a picture, and quartiles.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from crate_transformer.configs import AugmentConfig
from crate_transformer.data import TrainView, open_images, photograph
from crate_transformer.data.augment import Crop
from crate_transformer.models import Preprocessing

NAMES = ("cat", "astronaut", "coffee", "motorcycle", "flower", "temple")
SIZE = (224, 224)
KEY = np.random.SeedSequence(0).generate_state(2, np.uint64)
VIEW = TrainView(AugmentConfig(), Preprocessing())


def main() -> None:
    """One line for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 500, 1000, 2000, 4000])
    parser.add_argument("--turns", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| longer side, pixels | Pillow alone, ms | ours, ms | ratio |\n|---|---|---|---|")
    for side in options.sides:
        with tempfile.TemporaryDirectory() as folder:
            files = write(Path(folder), side)
            plain, ours = compare(Path(folder), files, options.turns)
        print(f"| {side:,} | {told(plain)} | {told(ours)} | {np.median(plain) / np.median(ours):.2f} |", flush=True)


def write(folder: Path, side: int) -> list[Path]:
    """The photographs at this size, in the order in which a folder is read."""
    for name in NAMES:
        (folder / name).mkdir()
        picture = photograph(name)
        scale = side / max(picture.size)
        picture = picture.resize([round(scale * length) for length in picture.size], Image.Resampling.BICUBIC)
        picture.save(folder / name / "photograph.jpg", quality=90)
    return sorted(folder.rglob("*.jpg"))


def compare(folder: Path, files: list[Path], turns: int) -> tuple[list[float], list[float]]:
    """Seconds for each picture and turn, of Pillow alone and ours."""
    source = open_images(folder)
    plain, ours = [], []
    for turn in range(turns + 1):
        for index, file in enumerate(files):
            seed = turn * len(files) + index
            with Image.open(file) as picture:
                box = Crop.draw(VIEW.config, generator(seed), SIZE).box(*picture.size)

            def read_plainly(file: Path = file, box: tuple[int, int, int, int] = box, flip: int = seed % 2) -> None:
                picture = Image.open(file).convert("RGB").resize(SIZE, Image.Resampling.BILINEAR, box=box)
                np.asarray(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else picture)

            def read_ours(index: int = index, seed: int = seed) -> None:
                VIEW(source, index, generator(seed), SIZE)

            jobs = [(read_plainly, plain), (read_ours, ours)]
            for job, times in jobs if turn % 2 else reversed(jobs):
                seconds = timed(job)
                if turn:  # the first warms up
                    times.append(seconds)
    return plain, ours


def generator(position: int) -> np.random.Generator:
    """As the loader makes one for each sample."""
    return np.random.Generator(np.random.Philox(key=KEY, counter=position))


def timed(job: Callable[[], None]) -> float:
    """Seconds of the processor."""
    start = time.thread_time()
    job()
    return time.thread_time() - start


def told(seconds: list[float]) -> str:
    """Median and quartiles in milliseconds."""
    low, middle, high = 1000 * np.quantile(seconds, [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
