import runpy
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks/decode.py"


def test_the_script_prints_a_line_for_each_size(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["decode.py", "--sides", "40", "60", "--turns", "1"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["40", "60"]
    assert all(float(line.split("|")[4]) > 0 for line in lines[2:])
