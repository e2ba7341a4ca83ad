"""Fixtures that every test may use."""

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


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


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No checks of types: while PyTorch traces with unknown sizes, an int is no int."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
