import io
import sys

import pytest

from crate_transformer import progress
from crate_transformer.progress import ProgressLine, duration


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
    assert capsys.readouterr().err.splitlines() == [
        "CRATE 2/5 loss 0.2, 45 s left",
        "CRATE 4/5 loss 0.4, 15 s left",
        "CRATE 5/5 loss 0.5",
    ]


def test_the_time_left_knows_of_earlier_sessions(capsys, monkeypatch):
    clock = iter((0, 21, 22))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with ProgressLine("CRATE", 100, 90) as line:
        line.update(93)
    assert capsys.readouterr().err == "CRATE 93/100 49 s left\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599.0, "59 min 59 s"), (7500.0, "2 h 5 min")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_quick_work_without_a_note_says_nothing_and_names_are_made_safe(capsys, monkeypatch):
    with ProgressLine("segment", 2) as line:
        line.update(2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", -1.0)
    with ProgressLine("se\x1b[31mgment", 2) as line:
        line.update(2)
    assert capsys.readouterr().err == "se\\x1b[31mgment 2/2\n"


def test_items_are_counted_when_the_work_on_them_is_done(capsys, monkeypatch):
    clock = iter(range(0, 1000, 15))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert list(progress.tracked("pictures", "abcde", 5)) == list("abcde")
    assert capsys.readouterr().err.splitlines() == [
        "pictures 2/5 45 s left",
        "pictures 4/5 15 s left",
        "pictures 5/5",
    ]


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
