import io
import sys

import pytest

from crate_transformer.training import progress
from crate_transformer.training.progress import ProgressLine


class Terminal(io.StringIO):
    def isatty(self):
        return True


def work(line, total, fail_at=None):
    with line:
        for done in range(1, total + 1):
            if done == fail_at:
                raise RuntimeError
            line.update(done, f"loss {done / 10:.1f}")


def test_a_log_file_gets_the_last_line_and_one_now_and_then(capsys, monkeypatch):
    work(ProgressLine("CRATE", 5), 5)
    assert capsys.readouterr().err == "CRATE 5/5 loss 0.5\n"
    clock = iter(range(0, 1000, 15))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    work(ProgressLine("CRATE", 5), 5)
    assert capsys.readouterr().err.splitlines() == ["CRATE 2/5 loss 0.2", "CRATE 4/5 loss 0.4", "CRATE 5/5 loss 0.5"]


def test_silence(capsys):
    work(ProgressLine("CRATE", 5, show=False), 5)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("fail_at", [None, 3])
def test_a_terminal_gets_a_bar_that_always_ends(monkeypatch, fail_at):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    line = ProgressLine("CRATE", 5)
    if fail_at:
        with pytest.raises(RuntimeError):
            work(line, 5, fail_at)
    else:
        work(line, 5)
    assert line._bar.finished or fail_at
    assert not line._bar.live.is_started
    assert "CRATE" in terminal.getvalue()
    assert ("2/5" if fail_at else "5/5") in terminal.getvalue()
