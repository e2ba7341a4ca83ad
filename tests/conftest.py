"""Fixtures and options of every test."""

import dataclasses
import gc
import io
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from PIL import Image
from shape_checks import checked

jaxtyping.jaxtyped = checked  # before the package is imported, whose functions --jaxtyping-packages decorates
SHARED = Path(__file__).resolve().parents[2] / "shared"
LONGEST = (
    "test_every_path.py",
    "test_docs_pages.py",
    "test_processes.py",
    "test_architecture.py",
    "test_examples.py",
    "test_quickstart.py",
    "test_cli_ending.py",
    "test_explorer_actions.py",
    "test_cli_inspect.py",
    "test_fold.py",
    "test_export.py",
    "test_explorer_server_pages.py",
    "test_measure.py",
)
"""Files that take more than nine seconds: two processes divide the files, so these come first."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="of every random number that a test draws (default: 0)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before modules are imported, some of which draw; processes that tests start read ``SEED``."""
    seed = config.getoption("seed")
    os.environ["SEED"] = str(seed)
    config.option.hypothesis_seed = config.getoption("hypothesis_seed", None) or seed
    if not config.getoption("numprocesses", None):  # where others run the tests, this process needs no torch
        gc.disable()  # until all are collected
        _draw_from(seed)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # so a shell starts what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    """What has been imported stays: going through it in every garbage collection takes a twelfth of the time.

    Fewer collections take another sixteenth less.
    """
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


def pytest_report_header(config: pytest.Config) -> str:
    return f"random numbers: --seed={config.getoption('seed')}"


def _draw_from(seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - scikit-learn draws from it
    random.seed(seed)


@pytest.fixture(autouse=True)
def _seed(request: pytest.FixtureRequest) -> None:
    _draw_from(request.config.getoption("seed"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden data and real images that stands beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("../shared with golden data and images is absent")
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Models as small as those of the tests are fastest, and leave the other cores alone."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are put together and saved as one white pixel: drawing is most of the work of a command that reports."""
    pixel = io.BytesIO()
    Image.new("RGB", (1, 1), "white").save(pixel, "png")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, file, **__: file.write(pixel.getvalue()))


@pytest.fixture
def small_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models that ``crate train`` takes unless told otherwise have two narrow blocks."""
    from crate_transformer.configs.tasks import TASKS
    from crate_transformer.models import LANGUAGE_MODELS, MODELS

    for name in {task.default_model for task in TASKS.values()}:
        models = MODELS if name in MODELS else LANGUAGE_MODELS
        kind, config = models[name]
        small = dataclasses.replace(config, embed_dim=16 * config.num_heads, depth=2)
        monkeypatch.setitem(models, name, (kind, small))


@pytest.fixture
def two_untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of untrained models is the higher of two, not the highest of five, which take most of the time."""
    monkeypatch.setattr("crate_transformer.inspection.controls.UNTRAINED_MODELS", 2)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No checks of types: while PyTorch traces with unknown sizes, an int is no int."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def _inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from crate_transformer.checkpoints import save_checkpoint, save_official  # after the plugin that checks shapes
    from crate_transformer.models import build_model

    folder, random = tmp_path_factory.mktemp("inputs"), np.random.default_rng(0)
    masked = [Path("my_masks") / "images" / f"{i}.jpg" for i in range(6)]
    classes = [Path("my_images") / kind / f"{i}.jpg" for kind in ("cat", "dog") for i in range(6)]
    files = [Path("photo.jpg"), *masked, *classes]
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (72, 96, 3), dtype=np.uint8)).save(folder / file)
    (folder / "my_masks" / "masks").mkdir()
    for i, file in enumerate(masked):
        mask = np.zeros((72, 96), np.uint8)
        mask[10 + 4 * i : 50, 20 : 50 + 5 * i] = 1
        Image.fromarray(mask).save(folder / "my_masks" / "masks" / f"{file.stem}.png")
    save_official(build_model("crate_small_patch16_224", img_size=32), folder / "CRATE-S.pth.tar")
    save_checkpoint(build_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=4), folder / "vit_checkpoint")
    return folder


@pytest.fixture
def inputs(_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the documentation gives to commands, in the working folder: ``photo.jpg``, ``my_images`` with a folder per
    class, ``my_masks`` with pictures and masks, an official checkpoint of a size that is published, and a ViT."""
    shutil.copytree(_inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
