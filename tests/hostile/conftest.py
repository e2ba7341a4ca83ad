"""The fork server in a process of its own, and what random choices follow from."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fork_server
import pytest

import crate_transformer


@pytest.fixture(scope="module")
def seed(request) -> int:
    """What every random choice here follows from; the suite's ``--seed``."""
    return request.config.getoption("--seed", 0)


class Server:
    """The fork server, started when first needed and again should it ever die."""

    def __init__(self) -> None:
        source = str(Path(crate_transformer.__file__).parents[1])
        self.process = subprocess.Popen(
            [sys.executable, fork_server.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        )

    def run(self, arguments: list[object], folder: Path, seconds: float = fork_server.SECONDS) -> dict:
        """One command, killed after so many seconds."""
        order = {
            "arguments": [os.fspath(a) if isinstance(a, Path) else str(a) for a in arguments],
            "folder": str(folder),
            "seconds": seconds,
        }
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()
