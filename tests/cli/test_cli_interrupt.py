"""Ctrl-C on a real ``crate train``, and the same command again."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("workers", "number"),
    [
        ("0", signal.SIGINT),
        pytest.param("1", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("2", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_interrupted_and_resumed(crate, make_pictures, tmp_path, workers, number, small):
    """The signal goes to the whole process group, as from a terminal; a broken picture is named on standard error."""
    pets = make_pictures("pets", cat=6, dog=6)
    (pets / "cat" / "bad.jpg").write_text("no picture")
    run = tmp_path / "run"
    command = ["train", "--data", pets, "--output", run, *small]
    command += ["--steps", "60", "--checkpoint-every", "5", "--workers", workers]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(
        [sys.executable, "-m", "crate_transformer.cli", *command], start_new_session=True, env=environment, **pipes
    )
    try:
        until = time.monotonic() + 120
        while not list(run.glob("state-*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.01)
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number, err
    how = "interrupted" if number == signal.SIGINT else "stopped by SIGTERM"
    assert err.endswith(f"crate: {how}; the same command goes on from here\n") and "Traceback" not in err
    assert f"skipped: {pets}/cat/bad.jpg is not a readable image" in err
    (state,) = run.glob("*state*")
    assert not (run / "model.safetensors").exists()

    done = crate(*command)
    assert done.code == 0, done.err
    metrics = json.loads((run / "config.json").read_text())["metadata"]["metrics"]
    assert metrics["resumed_at"] == int(state.name.removeprefix("state-")) >= 5
    assert metrics["steps"] == 60
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    steps = [record["step"] for record in records if "loss" in record]
    assert steps == sorted(set(steps)) and steps[-1] == 60
    assert not list(run.glob("*state*"))
