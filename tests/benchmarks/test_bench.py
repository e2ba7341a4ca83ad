"""The bench from the shell: what it writes, also when it is stopped, and what it refuses."""

import json

import pytest
import torch

from crate_transformer.benchmarks import bench, curves
from crate_transformer.cli import main

MODEL = "crate_micro_patch4_32"


@pytest.fixture
def command(tmp_path):
    quick = ["--batch", "2", "--repeats", "1", "--threads", "1", "--precisions", "float32", "--tasks", "inference"]
    return ["bench", MODEL, *quick, "--output", str(tmp_path / "bench")]


def row(case):
    """What might have been measured."""
    made = {"task": case.task, "precision": case.precision, "implementation": "ours", "images_per_second": 1.0}
    return made | {"ratio": 1.0, "gflops_per_image": 1.0, "ceiling_fraction": 0.5, "peak_memory_mb": None}


@pytest.fixture
def result(tmp_path):
    return lambda: json.loads((tmp_path / "bench" / "bench.json").read_text())


def test_from_the_shell(command, result, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "peak_memory", lambda case: 12.0)
    assert main(command) == 0
    assert "reference" in capsys.readouterr().out
    for row in result()["rows"]:
        assert row["images_per_second"] > 0 and row["peak_memory_mb"] == 12 and 0 < row["ceiling_fraction"] < 2
    assert {row["ratio"] for row in result()["rows"] if row["implementation"] == "reference"} == {1.0}
    assert result()["complete"] and result()["curves"] == []
    assert {path.name for path in (tmp_path / "bench").iterdir()} == {"bench.json", "crate_run.json"}


def test_curves_from_the_shell(command, result, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(curves, "TOKENS", (16, 32))
    monkeypatch.setattr(curves, "HEADS", (1, 2))
    assert main([*command, "--no-memory", "--curves", "batch", "tokens", "width", "threads"]) == 0
    panels = {panel["curve"]: panel for panel in result()["curves"]}  # of the tokens the last panel, arithmetic
    times = next(panel for panel in result()["curves"] if panel["y_label"] == "milliseconds")
    assert list(panels) == ["batch", "tokens", "width", "threads"]
    assert panels["batch"]["x"] == [1, 2] and panels["width"]["x"] == [32, 64] and panels["threads"]["x"][0] == 1
    assert {"ours", "reference"} <= set(panels["batch"]["series"])
    assert panels["tokens"]["fixed"]["batch"] == 2 and "batch" not in panels["batch"]["fixed"]
    assert (
        panels["tokens"]["slopes"] == dict.fromkeys(("MSSA", "TSSA", "CBSA", "MHSA"))
        and "slopes" not in panels["width"]
    )
    assert set(times["speed_ratios"]["MSSA"]) == {1.0} and "GFLOP per sequence" in capsys.readouterr().out
    for panel in panels.values():
        assert all(len(values) == len(panel["x"]) and min(values) > 0 for values in panel["series"].values())
    assert (tmp_path / "bench" / "curves.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("stop", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "crate: interrupted; the results so far are in"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nto"), 2, "crate: cpu has too little memory for --batch 2"),
    ],
)
def test_stopped_it_keeps_what_was_measured(command, result, monkeypatch, capsys, stop, code, sentence):
    def rows_until_stopped(case, names, **settings):
        yield row(case)
        raise stop

    monkeypatch.setattr(bench, "measure_rows", rows_until_stopped)
    assert main(command) == code
    error = capsys.readouterr().err
    assert error.startswith(sentence) and error.count("\n") == 1
    assert len(result()["rows"]) == 1 and not result()["complete"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--batch", "0"], "at least 1"),
        (["--device", "nowhere"], "--device nowhere"),
        (["--device", "meta"], "--device meta"),
        (["--device", "cuda", "--curves", "threads"], "leave 'threads' out"),
    ],
)
def test_what_cannot_be_measured_is_refused(command, tmp_path, capsys, options, sentence):
    assert main([*command, *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "bench").exists()


def test_numbers_measured_otherwise_are_not_replaced_unasked(command, result, capsys, monkeypatch):
    monkeypatch.setattr(bench, "measure_rows", lambda case, names, **settings: [row(case)])
    command += ["--no-memory", "--only", "ours"]
    assert main(command) == 0
    assert main(command) == 0
    assert main([*command, "--batch", "3"]) == 2
    assert "another run, made with different settings (batch): choose another --output" in capsys.readouterr().err
    assert result()["batch"] == 2
    assert main([*command, "--batch", "3", "--overwrite"]) == 0
    assert result()["batch"] == 3


def test_an_unknown_model_is_refused(capsys):
    assert main(["bench", "no_such_model"]) == 2
    assert "no_such_model" in capsys.readouterr().err


def test_only_those_named(command, result, capsys):
    assert main([*command, "--no-memory", "--only", "ours", "reference"]) == 0
    assert [row["implementation"] for row in result()["rows"]] == ["ours", "reference"]
    assert main([*command, "--only", "theirs"]) == 2
    assert "--only 'theirs' cannot be measured here: choose from ours, reference" in capsys.readouterr().err
