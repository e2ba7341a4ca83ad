"""What scripts change in the process that runs them is changed back."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Scripts silence the log of the data."""
    yield
    logging.getLogger("crate_transformer.data").setLevel(logging.NOTSET)
