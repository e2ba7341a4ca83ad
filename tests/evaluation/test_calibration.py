"""Expected calibration error with known answers."""

import pytest
import torch

from crate_transformer.evaluation.calibration import BINS, CalibrationCounts, count_calibration


def test_a_known_error():
    """Two images at 0.9 of which one is right, one at 0.5 that is right: (2 * |0.5 - 0.9| + |1 - 0.5|) / 3."""
    counts = count_calibration(torch.tensor([0.9, 0.9, 0.5]), torch.tensor([True, False, True]))
    assert counts.error == pytest.approx((2 * 0.4 + 0.5) / 3, rel=1e-6)
    assert counts.images[13] == 2 and counts.hits[13] == 1 and counts.images[7] == 1


def test_bins_end_where_the_paper_says():
    """The upper edge belongs to a bin; 0 to the first and 1 to the last."""
    edges = torch.arange(BINS + 1, dtype=torch.float64) / BINS
    counts = count_calibration(edges, torch.ones(BINS + 1, dtype=torch.bool))
    assert counts.images == (2, *[1] * (BINS - 1))


def test_no_image_is_no_error():
    assert CalibrationCounts().error == 0.0
