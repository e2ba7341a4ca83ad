import pytest

from crate_transformer.recipes import stages as module
from crate_transformer.recipes.stages import Stages

EXPECTED = {"reading": 10.0, "training": 100.0, "drawing": 20.0}


def lines(monkeypatch, capsys, times, **options):
    clock = iter(times)
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    stages = Stages(EXPECTED, **options)
    for stage in EXPECTED:
        stages.begin(stage)
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("times", "left"),
    [
        ((0.0, 10.0, 110.0), ("2 min 10 s", "2 min 0 s", "20 s")),  # as expected
        ((0.0, 20.0, 220.0), ("2 min 10 s", "4 min 0 s", "40 s")),  # half as fast
        ((0.0, 20.0, 21.0), ("2 min 10 s", "4 min 0 s", "40 s")),  # trained before: that says nothing of the rest
    ],
)
def test_what_is_left_follows_what_was_taken(monkeypatch, capsys, times, left):
    assert lines(monkeypatch, capsys, times) == [
        f"stage {number} of 3, {stage}; about {words} left"
        for number, (stage, words) in enumerate(zip(EXPECTED, left, strict=True), 1)
    ]


def test_silence(monkeypatch, capsys):
    assert lines(monkeypatch, capsys, (0.0, 1.0, 2.0), show=False) == []
