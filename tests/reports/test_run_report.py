"""The figure and the page of a finished run."""

import pytest

from crate_transformer.reports.curves import run_figure
from crate_transformer.reports.run import run_page
from crate_transformer.reports.style import figure_bytes

RECORDS = [
    {
        "step": 5,
        "loss": 2.0,
        "learning_rate": 1e-3,
        "images_per_second": 100.0,
        "waiting_for_data": 0.1,
        "seconds": 1.0,
    },
    {"step": 10, "loss": 1.0, "learning_rate": 0.0, "images_per_second": 90.0, "waiting_for_data": 0.2, "seconds": 2.0},
    {
        "step": 10,
        "seconds": 3.0,
        "top1": 0.5,
        "top5": 0.9,
        "layer_00_subspace_rate": 9.0,
        "layer_01_subspace_rate": 7.0,
        "layer_00_nonzero": 0.5,
        "layer_01_nonzero": 0.25,
    },
]


def panels(figure):
    return {
        axes.get_title(): [line.get_xydata().tolist() for line in axes.lines] for axes in figure.axes if axes.axison
    }


def test_every_number_is_drawn_where_it_belongs():
    found = panels(run_figure(RECORDS))
    assert found.pop("Training loss") == [[[5, 2], [10, 1]]]
    assert found.pop("Held-out top-1") == [[[10, 0.5]]]
    assert found.pop("Learning rate") == [[[5, 1e-3], [10, 0]]]
    assert found.pop("Images per second") == [[[5, 100], [10, 90]]]
    assert found.pop("Fraction of time waiting for data") == [[[5, 0.1], [10, 0.2]]]
    assert found.pop("Fraction of non-zeros after the sparse step of every layer") == [[[10, 0.5]], [[10, 0.25]]]
    (rates,) = found.values()
    assert rates == [[[10, 9]], [[10, 7]]]


def test_no_axis_exceeds_100_percent():
    (axes,) = (
        axes for axes in run_figure([*RECORDS[:2], {"step": 10, "top1": 1.0}]).axes if "top-1" in axes.get_title()
    )
    assert axes.get_ylim()[1] == 1


def test_a_run_without_validation_is_drawn_too():
    assert set(panels(run_figure(RECORDS[:2]))) >= {"Training loss", "Learning rate"}
    with pytest.raises(ValueError, match="no loss"):
        run_figure(RECORDS[2:])


def test_the_page_names_numbers_and_settings_and_escapes_them():
    numbers = {"top1": 0.5, "top1_interval": (0.4, 0.6), "layer_00_nonzero": 0.5, "images": 50_000}
    settings = {"augment": {"flip": True}, "start_from": None, "data": "<b>"}
    page = run_page("Training of <i>", "top-1 50%.", figure_bytes(run_figure(RECORDS)), numbers, settings).decode()
    for told in ("Training of &lt;i&gt;", "top-1 50%.", "0.4, 0.6", "50,000", "augment.flip", "True", "&lt;b&gt;"):
        assert told in page
    assert "not given" in page and "layer_00_nonzero" not in page and "<b>" not in page
