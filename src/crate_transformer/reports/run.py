"""The report page of a finished run."""

from collections.abc import Iterator, Mapping

from crate_transformer.reports.curves import LAYER
from crate_transformer.reports.page import Section, page_bytes
from crate_transformer.reports.table import Table


def run_page(
    title: str, summary: str, curves: bytes, numbers: Mapping[str, object], settings: Mapping[str, object]
) -> bytes:
    """The results, curves and settings of a run.

    Args:
        summary: the result on held-out data, with its confidence interval.
        curves: the training curves as PNG.
    """
    of_the_whole = {name: value for name, value in numbers.items() if not LAYER.fullmatch(name)}
    return page_bytes(
        title,
        summary,
        [
            Section(
                "Training curves",
                figures=[(curves, "Data: metrics.jsonl in the same folder.", "training curves")],
            ),
            Section("Metrics", table=Table(("metric", "value"), [*_flat(of_the_whole)])),
            Section("Settings", table=Table(("setting", "value"), [*_flat(settings)])),
        ],
    )


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested names joined by dots; long lists as their number of entries."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and len(value) > 10:
            yield f"{prefix}{name}", f"{len(value):,} entries"
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(_shown, value)) or "none"
        else:
            yield f"{prefix}{name}", _shown(value)


def _shown(value: object) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
