"""The report of a finished run: a table, a figure and a page."""

from crate_transformer.recipes.output import REPORT
from crate_transformer.recipes.run import Fit
from crate_transformer.reports.curves import run_figure
from crate_transformer.reports.run import run_page
from crate_transformer.reports.style import figure_bytes
from crate_transformer.storage import write_files
from crate_transformer.training.metrics import FILE, metrics_csv, read_metrics
from crate_transformer.training.processes import Processes


def report_run(done: Fit) -> None:
    """Write ``metrics.csv``, ``curves.png`` and ``report.html`` to the folder of a run, unless they exist."""
    Processes().on_main(lambda: _write(done))


def _write(done: Fit) -> None:
    if all((done.folder / name).exists() for name in REPORT):
        return
    records = read_metrics(done.folder / FILE)
    if not any("loss" in record for record in records):
        return
    settings = done.model.provenance.metadata["experiment"]
    curves = figure_bytes(run_figure(records))
    title = f"Training of {settings['start_from'] or settings['model']}"
    page = run_page(title, f"{done.summary}.", curves, done.metrics, settings)
    write_files(done.folder, dict(zip(REPORT, (metrics_csv(records), curves, page), strict=True)))
