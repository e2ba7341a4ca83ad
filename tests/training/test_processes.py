"""Two real processes that exchange gradients are one process with the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from crate_transformer.training.metrics import read_metrics

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("one_process.py")


def launch(folder: Path, processes: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [sys.executable, *launcher, SCRIPT, folder], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(line for line in done.stdout.splitlines() if line.startswith("rank"))


def test_two_processes_learn_what_one_does_and_stop_together(tmp_path):
    (alone,) = launch(tmp_path / "one", 1)
    both = launch(tmp_path / "two", 2)
    assert both == [alone, alone.replace("rank 0", "rank 1")]
    single, first, second = (
        torch.load(tmp_path / name, weights_only=True)
        for name in ("one/weights-0.pt", "two/weights-0.pt", "two/weights-1.pt")
    )
    for name, weights in single.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], weights, rtol=0, atol=2e-5, msg=name)
    steps = [record["step"] for record in read_metrics(tmp_path / "two/run/metrics.jsonl")]
    assert steps == [6, 8]

    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped/stop").touch()
    assert launch(tmp_path / "stopped", 2) == ["rank 0 interrupted", "rank 1 interrupted"]
    (tmp_path / "stopped/stop").unlink()
    assert launch(tmp_path / "stopped", 2) == [line.replace("at 0", "at 4") for line in both]
    resumed = torch.load(tmp_path / "stopped/weights-0.pt", weights_only=True)
    assert all(torch.equal(resumed[name], first[name]) for name in first)
