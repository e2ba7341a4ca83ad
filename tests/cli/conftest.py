"""The command line in this process, a folder of pictures, and a checkpoint trained on it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crate_transformer.cli import main

SMALL = ("--model", "crate_micro_patch4_32", "--img-size", "8", "--batch-size", "4", "--warmup-steps", "1")


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _undrawn(request):
    if not request.node.get_closest_marker("figures"):
        request.getfixturevalue("undrawn")


@pytest.fixture
def crate(capsys):
    def crate(*arguments: object) -> Ran:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return crate


@pytest.fixture
def refused(crate):
    """Runs a command that must end in one sentence and code 2, and gives the sentence back."""

    def refused(*arguments: object) -> str:
        ran = crate(*arguments)
        assert ran.code == 2, ran
        lines = [line for line in ran.err.splitlines() if line.startswith("crate: ")]  # others are progress, warnings
        assert len(lines) == 1 and ran.err.endswith(f"{lines[0]}\n") and "Traceback" not in ran.err, ran.err
        return lines[0].removeprefix("crate: ")

    return refused


@pytest.fixture
def small() -> tuple[str, ...]:
    """Options of ``crate train`` for the least work."""
    return SMALL


@pytest.fixture
def train(tmp_path, small):
    """Makes the arguments of a run of two steps on these pictures into the folder ``run``."""
    return lambda data, *more: ("train", "--data", data, "--output", tmp_path / "run", "--steps", "2", *small, *more)


@pytest.fixture
def draw():
    """Writes a picture of random pixels and returns its path."""
    return write_picture


def write_picture(file: Path, size: tuple[int, int] = (32, 32), seed: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


@pytest.fixture
def make_pictures(tmp_path):
    """``make_pictures("pets", cat=6, dog=6)``: a folder with so many pictures of 32 x 32 pixels per class."""

    def make(name: str, **counts: int) -> Path:
        for kind, count in counts.items():
            (tmp_path / name / kind).mkdir(parents=True)
            for index in range(count):
                write_picture(tmp_path / name / kind / f"{index}.png", seed=index)
        return tmp_path / name

    return make


@pytest.fixture
def pets(make_pictures):
    return make_pictures("pets", cat=6, dog=6)


@pytest.fixture
def picture(tmp_path):
    return write_picture(tmp_path / "photo.png", (40, 30))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A checkpoint of ``crate train`` with the classes cat and dog."""
    folder = tmp_path_factory.mktemp("trained")
    for seed, kind in enumerate(("cat", "dog")):
        for index in range(6):
            write_picture(folder / "pets" / kind / f"own-{index}.png", seed=10 * seed + index)
    assert main(["train", "--data", str(folder / "pets"), "--output", str(folder / "run"), "--steps", "3", *SMALL]) == 0
    return folder / "run"
