"""Results are written whole, sorted, and as numbers that JSON knows."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from crate_transformer.storage import read_json, write_json


@dataclass(frozen=True)
class Score:
    auc: np.ndarray
    where: Path


def test_everything_becomes_plain(tmp_path) -> None:
    path = tmp_path / "deep" / "metrics.json"
    write_json(
        path,
        {
            "z": np.float32(0.1),
            "a": (1, True, None, "Ü"),
            2: Score(np.array([[0.123456789, np.nan]]), Path("runs") / "x"),
            "i": np.int64(3),
            "tiny": 3.00000004e-9,
            "large": 1234567890.4,
            "set": {3, 1, 2},
            "inf": float("inf"),
            "flag": np.bool_(True),
        },
    )
    text = path.read_text(encoding="utf-8")
    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert list(read) == sorted(read)
    assert read == {
        "z": 0.1,
        "a": [1, True, None, "Ü"],
        "2": {"auc": [[0.123457, None]], "where": str(Path("runs") / "x")},
        "i": 3,
        "tiny": 3e-9,
        "large": 1234567890.0,
        "set": [1, 2, 3],
        "inf": None,
        "flag": True,
    }
    assert text.endswith("}\n")


def test_a_number_that_no_reader_takes_is_not_written(tmp_path) -> None:
    write_json(tmp_path / "a.json", [10**300, -(10**300)])
    assert read_json(tmp_path / "a.json") == [10**300, -(10**300)]
    with pytest.raises(ValueError, match="is too large"):
        write_json(tmp_path / "b.json", {"a": 10**310})


def test_what_is_no_result_is_named_and_nothing_is_touched(tmp_path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="a complex cannot be written as JSON"):
        write_json(path, {"a": 1j})
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("metrics.json", "old")]


@pytest.mark.parametrize("module, failing", [(os, "fsync"), (Path, "replace")])
def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch, module, failing: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, failing, fail)
    with pytest.raises(OSError, match=r"cannot write .*metrics\.json: No space left on device"):
        write_json(path, {"a": 1})
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("metrics.json", "old")]


def test_file_names_that_are_not_unicode_are_kept(tmp_path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "a.json", {name: ["ü", name]})
    assert read_json(tmp_path / "a.json") == {name: ["ü", name]}


def test_results_wait_for_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys; from crate_transformer.storage import write_json; import crate_transformer.reports as r; "
        "dir(r); sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'jinja2', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_exists() -> None:
    from crate_transformer import reports

    for name in reports.__all__:
        assert callable(getattr(reports, name))
        assert getattr(reports, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = reports.nothing
