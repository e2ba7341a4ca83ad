"""The reliability diagram."""

import numpy as np
from matplotlib.figure import Figure

from crate_transformer.evaluation.calibration import BINS, CalibrationCounts
from crate_transformer.reports.style import COLOURS, CONTROL_GREY, INK, new_figure, styled


@styled
def reliability_figure(calibration: CalibrationCounts) -> Figure:
    """Accuracy against confidence in 15 bins, and the fraction of images in each bin; the diagonal is calibrated."""
    edges = np.arange(BINS) / BINS
    images = np.array(calibration.images)
    filled = images > 0
    hits, confidence = (np.array(sums)[filled] / images[filled] for sums in (calibration.hits, calibration.confidence))
    figure = new_figure(height=5.4, width=5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.bar(edges[filled], hits, width=1 / BINS, align="edge", color=COLOURS[0], edgecolor="white", label="accuracy")
    upper.plot(confidence, hits, "o", color=INK, label="at the mean confidence of the bin")
    upper.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title=f"Expected calibration error {calibration.error:.3f}")
    upper.legend(loc="upper left")
    lower.bar(edges, images / max(1, images.sum()), width=1 / BINS, align="edge", color=CONTROL_GREY, edgecolor="white")
    lower.set(xlabel="confidence", ylabel="fraction of images")
    return figure
