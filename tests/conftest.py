"""Fixtures and options of every test."""

import dataclasses
import io
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

SHARED = Path(__file__).resolve().parents[2] / "shared"
LONGEST = (
    "test_training_page.py",
    "test_quickstart.py",
    "test_small_data.py",
    "test_cli_interrupt.py",
    "test_every_path.py",
)
"""Files that take more than ten seconds: two processes divide the files, so these come first."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="of every random number that a test draws (default: 0)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before modules are imported, some of which draw; processes that tests start read ``SEED``."""
    seed = config.getoption("seed")
    os.environ["SEED"] = str(seed)
    config.option.hypothesis_seed = config.getoption("hypothesis_seed", None) or seed
    _draw_from(seed)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # so a shell starts what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_report_header(config: pytest.Config) -> str:
    return f"random numbers: --seed={config.getoption('seed')}"


def _draw_from(seed: int) -> None:
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
def unchecked() -> Iterator[None]:
    """No checks of types: while PyTorch traces with unknown sizes, an int is no int."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
