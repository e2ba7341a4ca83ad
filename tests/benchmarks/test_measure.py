"""Interleaved timing, memory in processes of their own, and the curves that are drawn from them."""

import ctypes
import platform
import subprocess
import sys

import pytest
import torch

from crate_transformer.benchmarks.cases import LayerCase, ModelCase
from crate_transformer.benchmarks.curves import doubled, slope
from crate_transformer.benchmarks.measure import interleave, keep_freed_memory, median_ratio, peak_memory
from crate_transformer.reports.speed import curves_figure

PANEL = {"title": "t", "x_label": "tokens", "y_label": "ms", "x": [1, 2], "series": {"MSSA": [1.0, 4.0]}}


def test_turns_are_interleaved_and_the_first_does_not_count():
    turns = []
    seconds = interleave(
        {"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, repeats=3, device=torch.device("cpu")
    )
    assert turns == ["a", "b"] * 4
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
    assert median_ratio([4.0, 9.0, 8.0], [2.0, 3.0, 1.0]) == 3.0


def test_peak_memory_is_what_the_tensors_take():
    layer = LayerCase(
        implementation="TSSA",
        task="inference",
        precision="float32",
        batch=8,
        threads=1,
        device="cpu",
        tokens=1024,
        dim=192,
    )
    tensor = 8 * 1024 * 192 * 4 / 1e6
    assert 3 * tensor < peak_memory(layer) < 9 * tensor


def test_a_training_step_needs_gradients_and_both_moments():
    step = ModelCase(
        model="crate_micro_patch4_32",
        implementation="reference",
        task="training",
        precision="float32",
        batch=1,
        threads=1,
        device="cpu",
    )
    parameters = sum(parameter.numel() for parameter in step.ours().parameters()) * 4 / 1e6
    # both moments, 2 times the parameters; the gradients' pages may still be there from the warm-up
    assert 1.8 * parameters < peak_memory(step) < 6 * parameters


def test_memory_that_cannot_be_measured_is_one_sentence():
    nobody = LayerCase(
        implementation="nobody", task="inference", precision="float32", batch=1, threads=1, device="cpu", tokens=4
    )
    with pytest.raises(ValueError, match=r"memory of nobody failed \(KeyError: 'nobody'\)"):
        peak_memory(nobody)


def test_slope_of_a_power_law_is_its_exponent():
    assert slope([1, 2, 4], [9.0, 6.0, 12.0], 2) == pytest.approx(1)
    assert slope([2, 4, 8], [3.0, 12.0, 48.0], 1) == pytest.approx(2)
    assert slope([1, 2, 4], [1.0, 2.0, 4.0], 4) is None


@pytest.mark.parametrize(("most", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_counts_double_up_to_the_last(most, counts):
    assert doubled(most) == counts


@pytest.mark.parametrize(("count", "panels"), [(1, 1), (2, 2), (3, 3)])
def test_every_curve_has_its_panel(count, panels):
    figure = curves_figure([PANEL] * count)
    assert len(figure.axes) == panels
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[1.0, 4.0]]


def test_slopes_stand_in_the_panel():
    figure = curves_figure([PANEL | {"slopes": {"MSSA": 2.0}, "slope_from": 1024}])
    legend = figure.axes[0].get_legend()
    assert legend.get_title().get_text() == "slope from 1,024"
    assert [text.get_text() for text in legend.get_texts()] == ["2.00"]


def test_more_names_than_looks_are_refused():
    crowded = PANEL | {"series": {str(number): [1.0, 2.0] for number in range(15)}}
    for panels in ([], [crowded]):
        with pytest.raises(ValueError, match="1 to 14 names"):
            curves_figure(panels)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_the_allocator_keeps_memory_where_asked():
    script = """
import re, torch
from pathlib import Path
from crate_transformer.benchmarks.measure import keep_freed_memory
resident = lambda: int(re.search(r"VmRSS:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
for prepare in (lambda: None, keep_freed_memory):
    prepare()
    before = resident()
    torch.ones(20_000_000)
    print(resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert not done.stderr
    assert [int(kilobytes) > 70_000 for kilobytes in done.stdout.split()] == [False, True]


def test_another_allocator_is_said(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with pytest.raises(ValueError, match="needs glibc"):
        keep_freed_memory()
