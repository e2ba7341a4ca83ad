"""Top-1 and top-5 accuracy with known answers."""

import math
import os
import runpy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from crate_transformer.evaluation import Accuracy, AccuracyCounts, accuracy, accuracy_counts
from crate_transformer.evaluation.accuracy import wilson_interval


class Repeat(nn.Module):
    """Gives its input back as logits."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return images * self.scale


def test_known_ranks():
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1, 0]]).expand(7, -1)
    model = Repeat()
    loader = [(logits[:4], torch.arange(4)), (logits[4:], torch.arange(4, 7))]
    interval = wilson_interval(1, 7)
    assert accuracy(model, loader) == Accuracy(top1=1 / 7, top5=5 / 7, count=7, top1_interval=interval, chance=1 / 7)
    assert model.training


def test_fewer_than_five_classes():
    logits = torch.eye(3)
    found = accuracy(Repeat(), [(logits, torch.tensor([0, 1, 0]))])
    interval = wilson_interval(2, 3)
    assert found == Accuracy(top1=2 / 3, top5=1.0, count=3, top1_interval=interval, chance=2 / 3)
    assert str(found) == (
        "top-1 66.7% of 3 images (95% interval 20.8% to 93.9%; majority-class baseline 66.7%; too few "
        "images to distinguish it from this baseline)"
    )


@pytest.mark.parametrize(("hits", "count"), [(0, 3), (3, 3), (1, 2), (50, 100), (999, 1000)])
def test_the_interval_solves_its_equation(hits, count):
    """Its ends are the shares that lie 1.96 of their own standard deviations from what was seen."""
    for end in wilson_interval(hits, count):
        distance = abs(hits / count - end)
        assert distance == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / count), rel=1e-5, abs=1e-9)


def test_a_clear_result_says_so():
    clear = Accuracy(top1=0.9, top5=1.0, count=100, top1_interval=wilson_interval(90, 100), chance=0.5)
    assert str(clear).endswith("majority-class baseline 50.0%)")


def test_a_label_without_class_and_no_images_are_refused():
    with pytest.raises(ValueError, match="label 3, but the model has 3 classes"):
        accuracy(Repeat(), [(torch.eye(3), torch.tensor([0, 1, 3]))])
    with pytest.raises(ValueError, match="at least one image"):
        accuracy(Repeat(), [])


def test_counts_of_uneven_shares_add_up():
    """However batches and processes divide the images, the sums and so the results are the same, bit for bit."""
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(103, 12, generator=generator) * 4, torch.randint(12, (103,), generator=generator)
    whole = accuracy_counts(Repeat(), [(logits, labels)])
    shares = [[0, 1, 50], [50, 50, 77], [], [77, 103]]
    parts = [accuracy_counts(Repeat(), [(logits[a:b], labels[a:b]) for a, b in pairwise(ends)]) for ends in shares]
    assert sum(parts, start=AccuracyCounts()) == whole
    assert whole.result() == accuracy(Repeat(), [(logits, labels)])
    assert whole.result().top1 == float((logits.argmax(dim=1) == labels).double().mean())
    assert whole.pairs.total() == sum(whole.calibration.images) == 103


def test_an_answer_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        accuracy(Repeat(), [(torch.tensor([[1.0, math.nan]]), torch.tensor([1]))])


def test_two_processes_with_uneven_shares_count_what_one_counts(tmp_path, monkeypatch, capsys):
    script = str(Path(__file__).with_name("one_counting_process.py"))

    def given(rank: int, processes: int) -> dict[str, str]:
        return {"RANK": str(rank), "WORLD_SIZE": str(processes), "INIT": f"file://{tmp_path}/meet"}

    def here(rank: int, processes: int) -> str:
        for name, value in given(rank, processes).items():
            monkeypatch.setenv(name, value)
        runpy.run_path(script)
        return capsys.readouterr().out

    other = subprocess.Popen([sys.executable, script], env=os.environ | given(1, 2), stdout=subprocess.PIPE, text=True)
    alone = here(0, 1)
    assert here(0, 2) == other.communicate(timeout=120)[0] == alone
    assert "of 103 images" in alone
