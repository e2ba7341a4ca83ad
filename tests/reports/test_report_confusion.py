"""The confusion matrix and the reliability diagram."""

import numpy as np
import pytest
import torch

from crate_transformer.evaluation.calibration import CalibrationCounts, count_calibration
from crate_transformer.reports import confusion_figure, reliability_figure, save_figure


def test_rows_are_shares_and_unnamed_classes_are_left_out(tmp_path):
    matrix = np.zeros((200, 200), dtype=np.int64)
    matrix[3, 3], matrix[3, 150], matrix[3, 160], matrix[150, 150] = 2, 1, 1, 2
    names = [f"class {index} {'x' * 40}$" for index in range(200)]
    figure = confusion_figure(matrix, names)
    axes = figure.axes[0]
    assert np.allclose(axes.images[0].get_array(), [[0.5, 0.25, 0.25], [0, 1, 0]])
    assert [label.get_text()[:9] for label in axes.get_yticklabels()] == ["class 3 x", "class 150"]
    assert [label.get_text()[:9] for label in axes.get_xticklabels()] == ["class 3 x", "class 150", "class 160"]
    save_figure(figure, tmp_path / "confusion.png")


@pytest.mark.parametrize("classes", [0, 101])
def test_too_many_classes_are_refused(classes):
    matrix = np.zeros((200, 200), dtype=np.int64)
    matrix[range(classes), range(classes)] = 1
    with pytest.raises(ValueError, match=f"1 to 100 classes, not {classes}"):
        confusion_figure(matrix, ["?"] * 200)


def test_bars_of_the_reliability_figure_are_accuracies(tmp_path):
    counts = count_calibration(torch.tensor([0.9, 0.9, 0.5]), torch.tensor([True, False, True]))
    figure = reliability_figure(counts)
    upper, lower = figure.axes
    assert [bar.get_height() for bar in upper.patches] == [1.0, 0.5]
    assert sum(bar.get_height() for bar in lower.patches) == pytest.approx(1)
    save_figure(figure, tmp_path / "reliability.png")
    save_figure(reliability_figure(CalibrationCounts()), tmp_path / "empty.png")
