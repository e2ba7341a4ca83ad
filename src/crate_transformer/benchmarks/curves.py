"""Speed and memory as functions of the batch size, number of tokens, width and number of threads."""

import math
import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from crate_transformer.benchmarks.cases import LAYERS, Case, LayerCase, ModelCase
from crate_transformer.benchmarks.flops import count_flops
from crate_transformer.benchmarks.measure import median_ratio, peak_memory, time_cases

TOKENS = (256, 512, 1024, 2048, 4096)
SLOPE_FROM = 1024  # tokens; with fewer, fixed costs matter
HEADS = (2, 4, 8, 16)
Points = dict[tuple[str, int], Case]
Quantity = Callable[[Any, float], float]
"""Of a case and the seconds of its run."""


def images_per_second(point: Case, seconds: float) -> float:
    """Speed of a model, from the seconds of one run."""
    return point.batch / seconds


def milliseconds(point: Case, seconds: float) -> float:
    """Time of a layer, from the seconds of one run."""
    return 1e3 * seconds


def megabytes(point: Case, seconds: float) -> float:
    """Peak memory, measured in a separate process."""
    return peak_memory(point)


def layer_gflop(point: LayerCase, seconds: float) -> float:
    """Arithmetic of a layer's forward pass for one sequence, in 10^9 floating-point operations."""
    with torch.device("meta"):
        layer = replace(point, device="meta").build()
    return count_flops(layer, point.tokens, point.dim) / 1e9


def _batches(case: ModelCase, names: list[str]) -> Points:
    return {
        (name, batch): replace(case, implementation=name, batch=batch)
        for name in names
        for batch in doubled(case.batch)
    }


def _widths(case: ModelCase, names: list[str]) -> Points:
    cases = [replace(case, implementation=name, heads=heads) for name in names for heads in HEADS]
    return {(point.implementation, point.width): point for point in cases}


def _threads(case: ModelCase, names: list[str]) -> Points:
    counts = doubled(os.cpu_count() or 1)
    return {(name, count): replace(case, implementation=name, threads=count) for name in names for count in counts}


def _tokens(case: ModelCase, names: list[str]) -> Points:
    same = {name: getattr(case, name) for name in ("task", "precision", "batch", "threads", "device")}
    return {
        (name, tokens): LayerCase(implementation=name, tokens=tokens, **same) for name in LAYERS for tokens in TOKENS
    }


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A quantity that varies, and the cases to measure by series and value; one panel per measured quantity.

    Args:
        slope_from: also report the slope on logarithmic axes from this ``x`` on: 1 is linear, 2 quadratic.
    """

    x_label: str
    points: Callable[[ModelCase, list[str]], Points]
    quantities: Mapping[str, Quantity]
    title: str = "{model}"
    slope_from: int | None = None


SPEED = {"images/s": images_per_second}
CURVES = {
    "batch": Curve(x_label="images in a batch", points=_batches, quantities=SPEED),
    "tokens": Curve(
        x_label="tokens",
        points=_tokens,
        quantities={"milliseconds": milliseconds, "peak memory, MB": megabytes, "GFLOP per sequence": layer_gflop},
        title="one layer of width 384",
        slope_from=SLOPE_FROM,
    ),
    "width": Curve(x_label="width", points=_widths, quantities=SPEED),
    "threads": Curve(x_label="threads", points=_threads, quantities=SPEED),
}


def measure_curve(
    name: str, case: ModelCase, names: list[str], *, repeats: int, memory: bool, show: Callable[[str], None]
) -> Iterator[dict[str, object]]:
    """The panels of a curve for the task and precision of ``case``, its points timed interleaved.

    Each is a mapping with ``title``, ``x_label``, ``x``, ``y_label``, ``series`` (a list of values by name), ``fixed``
    (what all points have in common), and for the curve against tokens ``slopes`` (the function ``slope``) and, for
    times, ``speed_ratios``: how many times faster than the first series, as the median over repeats.
    """
    curve = CURVES[name]
    points = curve.points(case, names)
    turns = time_cases(points, repeats=repeats, show=show)
    xs = sorted({x for _, x in points})
    whos = list(dict.fromkeys(who for who, _ in points))
    for y_label, quantity in curve.quantities.items():
        if quantity is megabytes and not memory:
            continue
        series = {}
        for who in whos:
            show(f"{who} against {curve.x_label}: {y_label}")
            series[who] = [quantity(points[who, x], statistics.median(turns[who, x])) for x in xs]
        panel = {
            "curve": name,
            "title": f"{curve.title.format(model=case.model)}, {case.task}, {case.precision}",
            "x_label": curve.x_label,
            "x": xs,
            "y_label": y_label,
            "series": series,
            "fixed": _in_common([asdict(point) for point in points.values()]),
        }
        if curve.slope_from is not None:
            panel["slope_from"] = curve.slope_from
            panel["slopes"] = {who: slope(xs, ys, curve.slope_from) for who, ys in series.items()}
        if quantity is milliseconds:
            panel["speed_ratios"] = {who: [median_ratio(turns[whos[0], x], turns[who, x]) for x in xs] for who in whos}
        yield panel


def slope(xs: list[int], ys: list[float], start: int) -> float | None:
    """The slope of the least-squares line through the logarithms of the points from ``start`` on; ``None`` if they are
    fewer than two."""
    points = [(math.log(x), math.log(y)) for x, y in zip(xs, ys, strict=True) if x >= start]
    return statistics.linear_regression(*zip(*points, strict=True)).slope if len(points) > 1 else None


def doubled(most: int) -> list[int]:
    """The powers of 2 below ``most``, and ``most``."""
    return sorted({2**power for power in range(most.bit_length())} | {most})


def _in_common(points: list[dict[str, object]]) -> dict[str, object]:
    return {name: value for name, value in points[0].items() if all(point[name] == value for point in points)}
