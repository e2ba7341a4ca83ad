import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from written_shards import labelled, write_tar


def draw(file: Path, value: int, size: tuple[int, int] = (12, 10)) -> None:
    """A lossless picture that can be told from others by its pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(value)
    Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(file)


@pytest.fixture
def shards(tmp_path) -> Path:
    """Three tar files of four samples."""
    for number in range(3):
        write_tar(tmp_path / "set" / f"{number:03}.tar", labelled(4 * number, 4))
    return tmp_path / "set"


@pytest.fixture
def make_images(tmp_path):
    """Writes ``{class: count}`` pictures below a folder of this name, and a zip file of it if asked."""

    def make(name: str, counts: dict[str, int], *, archive: bool = False, **options) -> Path:
        folder = tmp_path / name
        for start, (kind, count) in enumerate(counts.items()):
            for index in range(count):
                draw(folder / kind / f"{index:03}.png", 1000 * start + index, **options)
        if not archive:
            return folder
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as file:
            for picture in sorted(folder.rglob("*.png")):
                file.write(picture, picture.relative_to(tmp_path))
        return tmp_path / f"{name}.zip"

    return make
