"""The bench: contenders by task and precision, and how one layer grows with the number of tokens."""

import datetime
import platform
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from crate_transformer.benchmarks.contenders import (
    DTYPES,
    OURS,
    TEXTBOOK,
    contenders,
    prepare,
    random_images,
    task_runner,
)
from crate_transformer.benchmarks.flops import count_flops
from crate_transformer.benchmarks.measure import interleave, median_ratio, peak_memory, product_ceiling
from crate_transformer.layers import MSSA, TSSA

TOKENS = (256, 512, 1024, 2048, 4096)


def bench(
    model: str,
    *,
    tasks: Sequence[str],
    precisions: Sequence[str],
    batch: int,
    repeats: int,
    device: torch.device,
    memory: bool,
    show: Callable[[str], None],
) -> dict[str, object]:
    """One row for each task, precision and contender.

    ``ratio`` is the speed relative to the textbook (to the first contender where there is none), ``ceiling_fraction``
    what is reached of the machine's own matrix products in that precision, counting a training step as three passes.
    """
    images = random_images(model, batch, device)
    names = contenders(model)
    reference = TEXTBOOK if TEXTBOOK in names else OURS
    rows = []
    for task in tasks:
        for precision in precisions:
            ceiling = product_ceiling(1024 if device.type == "cpu" else 8192, DTYPES[precision], device)
            models = {name: prepare(name, task, model, precision=precision, device=device) for name in names}
            runs = {name: task_runner(task, m, images, precision=precision) for name, m in models.items()}
            seconds = interleave(
                runs, repeats=repeats, device=device, show=lambda text, t=task, p=precision: show(f"{t} {p}: {text}")
            )
            del models, runs
            for name in names:
                median = statistics.median(seconds[name])
                shown = prepare(name, "training", model, precision="float32", device=torch.device("cpu"))
                shown = shown.fold() if name == OURS else shown.eval()
                flops = count_flops(shown, *images.shape[1:]) * (3 if task == "training" else 1)
                settings = {"model": model, "batch": str(batch), "precision": precision, "device": str(device)}
                rows.append(
                    {
                        "task": task,
                        "precision": precision,
                        "contender": name,
                        "images_per_second": batch / median,
                        "ratio": median_ratio(seconds[reference], seconds[name]),
                        "gflops_per_image": flops / 1e9,
                        "ceiling_fraction": flops * batch / median / ceiling,
                        "seconds": seconds[name],
                        "peak_memory_mb": peak_memory(task, name, settings | {"threads": str(torch.get_num_threads())})
                        if memory
                        else None,
                    }
                )
    return {
        "model": model,
        "batch": batch,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "machine": _machine(device),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
        "reference": reference,
        "rows": rows,
    }


def scaling(*, repeats: int, device: torch.device, dim: int = 384, num_heads: int = 6) -> dict[str, object]:
    """Seconds of one layer of MSSA and of TSSA for growing numbers of tokens, interleaved, without gradients."""
    layers = {"MSSA": MSSA(dim, num_heads).to(device), "TSSA": TSSA(dim, num_heads).to(device)}
    inputs = {tokens: torch.randn(1, tokens, dim, device=device) for tokens in TOKENS}
    with torch.no_grad():
        cases = {
            f"{name} {tokens}": lambda layer=layer, z=z: layer(z)
            for name, layer in layers.items()
            for tokens, z in inputs.items()
        }
        seconds = interleave(cases, repeats=repeats, device=device)
    return {
        "tokens": list(TOKENS),
        "dim": dim,
        **{name: [statistics.median(seconds[f"{name} {tokens}"]) for tokens in TOKENS] for name in layers},
    }


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
