"""The table of ``crate bench``: implementations by task and precision."""

import datetime
import platform
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from crate_transformer.benchmarks.cases import ModelCase
from crate_transformer.benchmarks.flops import count_flops
from crate_transformer.benchmarks.implementations import DTYPES, IMPLEMENTATIONS, REFERENCE, implementations
from crate_transformer.benchmarks.measure import median_ratio, peak_memory, product_ceiling, time_cases


def conditions(case: ModelCase) -> dict[str, object]:
    """The conditions under which a run was measured."""
    device = torch.device(case.device)
    return {
        "model": case.model,
        "batch": case.batch,
        "threads": case.threads,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "machine": _machine(device),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def reference(names: list[str]) -> str:
    """The implementation whose speed is 1: the reference, or else the first."""
    return REFERENCE if REFERENCE in names else names[0]


def measure_rows(
    case: ModelCase, names: list[str], *, repeats: int, memory: bool, show: Callable[[str], None]
) -> Iterator[dict[str, object]]:
    """One row for every implementation in the task and precision of ``case``, all measured interleaved.

    ``ratio`` is the speed relative to the reference. ``ceiling_fraction`` is the arithmetic rate as a fraction of that
    of the machine's large matrix products in the same precision; a training step counts as three forward passes.
    """
    torch.set_num_threads(case.threads)
    device = torch.device(case.device)
    ceiling = product_ceiling(1024 if device.type == "cpu" else 8192, DTYPES[case.precision], device)
    cases = {name: replace(case, implementation=name) for name in names}
    seconds = time_cases(cases, repeats=repeats, show=show)
    for name in names:
        show(f"{name}: arithmetic and memory")
        median = statistics.median(seconds[name])
        gflops = _forward_flops(cases[name]) * (3 if case.task == "training" else 1) / 1e9
        yield {
            "task": case.task,
            "precision": case.precision,
            "implementation": name,
            "images_per_second": case.batch / median,
            "ratio": median_ratio(seconds[reference(names)], seconds[name]),
            "gflops_per_image": gflops,
            "ceiling_fraction": gflops * 1e9 * case.batch / median / ceiling,
            "seconds": seconds[name],
            "peak_memory_mb": peak_memory(cases[name]) if memory else None,
        }


def offered(case: ModelCase, *, compiled: bool = False) -> list[str]:
    """The implementations that can be measured with the model, device and precision of ``case``."""
    with torch.device("meta"):
        return implementations(case.ours(), torch.device(case.device), case.precision, compiled=compiled)


def _forward_flops(case: ModelCase) -> float:
    with torch.device("meta"):
        ours = case.ours()
        model = IMPLEMENTATIONS[case.implementation].plain(ours)
    model = ours.fold() if model is ours else model.eval()
    return count_flops(model, ours.config.in_chans, *ours.config.image_shape)


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
