"""The small problem, ready to run."""

import pytest
from small_problem import Runner


@pytest.fixture
def run() -> Runner:
    return Runner()
