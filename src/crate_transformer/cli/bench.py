"""``crate bench``."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from crate_transformer.cli.terminal import say

if TYPE_CHECKING:
    from crate_transformer.benchmarks.cases import ModelCase


_ABOUT_OUTPUT = ("output", "overwrite")


@dataclass(frozen=True, kw_only=True)
class Command:
    """Measure speed and memory of this package, a plain CRATE as the reference, and ViTs of other libraries.

    The ViTs of transformers and timm, if installed, have the same width and depth. On a GPU, our model is also measured
    as a CUDA graph and with Triton kernels. Repetitions are interleaved in one process; ratios are medians over
    repetitions. Peak memory is measured in a fresh process each, beyond the built model. Writes bench.json, and
    curves.png with --curves; if interrupted, the results so far.
    """

    model: Annotated[str, tyro.conf.Positional] = "crate_base_patch16_224"
    """A name that 'crate models' lists."""
    output: Path = Path("runs/bench")
    """Folder for the results and the plot."""
    overwrite: bool = False
    """Replace results that were measured with other options."""
    tasks: tuple[Literal["inference", "training"], ...] = ("inference", "training")
    precisions: tuple[Literal["float32", "bf16"], ...] = ("float32", "bf16")
    batch: int = 8
    """Batch size."""
    repeats: int = 7
    """Measured repetitions, after warm-up."""
    threads: int = 2
    """PyTorch threads."""
    device: str = "cpu"
    memory: bool = True
    """Also measure peak memory."""
    keep_memory: bool = False
    """Let glibc keep freed memory while timing; otherwise the system zeroes new pages for every large tensor."""
    compile: bool = False
    """Also measure our model with torch.compile."""
    only: tuple[str, ...] = ()
    """Measure only these implementations, such as: ours reference."""
    curves: tuple[Literal["batch", "tokens", "width", "threads"], ...] = ()
    """Also measure, in the first precision, speed against batch size (1, 2, 4, ... up to --batch), width and number of
    threads (up to all of this machine), and time, memory and arithmetic of one layer of MSSA, TSSA, CBSA and a ViT's
    attention (MHSA) against 256 to 4096 tokens, with the slopes on logarithmic axes."""

    def __call__(self) -> None:
        from crate_transformer.benchmarks.bench import conditions, measure_rows, reference
        from crate_transformer.benchmarks.cases import ModelCase
        from crate_transformer.benchmarks.curves import measure_curve
        from crate_transformer.benchmarks.measure import keep_freed_memory
        from crate_transformer.cli.outputs import SETTINGS, check_output
        from crate_transformer.models import canonical_name
        from crate_transformer.reports.speed import curves_figure
        from crate_transformer.reports.style import save_figure
        from crate_transformer.storage import json_bytes, write_files

        if min(self.batch, self.repeats, self.threads) < 1:
            raise ValueError("--batch, --repeats and --threads must be at least 1")
        if not self.tasks or not self.precisions:
            raise ValueError("--tasks and --precisions need at least one value each")
        if self.device != "cpu" and "threads" in self.curves:
            raise ValueError(f"CPU threads do not matter on {self.device}: leave 'threads' out of --curves")
        usable(self.device)
        if self.keep_memory:
            keep_freed_memory()
        first = ModelCase(
            model=canonical_name(self.model),
            implementation="ours",
            task=self.tasks[0],
            precision=self.precisions[0],
            batch=self.batch,
            threads=self.threads,
            device=self.device,
        )
        result = {
            **conditions(first),
            "keep_memory": self.keep_memory,
            "reference": reference(self.chosen(first)),
            "rows": [],
            "curves": [],
            "complete": False,
        }
        settings = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _ABOUT_OUTPUT}
        check_output(self.output, settings, overwrite=self.overwrite, writes=("bench.json", "curves.png"))
        turns = {"repeats": self.repeats, "memory": self.memory}
        self.output.mkdir(parents=True, exist_ok=True)
        try:
            for task in self.tasks:
                for precision in self.precisions:
                    case = replace(first, task=task, precision=precision)
                    names = self.chosen(case)
                    result["rows"] += measure_rows(case, names, show=labelled(task, precision), **turns)
            for curve in self.curves:
                for task in self.tasks:
                    case = replace(first, task=task)
                    names = self.chosen(case)
                    result["curves"] += measure_curve(curve, case, names, show=labelled(curve, task), **turns)
            result["complete"] = True
        except RuntimeError as error:
            if "memory" not in str(error):
                raise
            raise ValueError(
                f"{self.device} has too little memory for --batch {self.batch}: choose a smaller batch"
            ) from error
        except KeyboardInterrupt as stop:
            kept = f"the results so far are in {self.output}" if result["rows"] else "nothing was measured yet"
            raise KeyboardInterrupt(kept) from stop
        finally:
            show("")
            if result["rows"]:
                files = {"bench.json": json_bytes(result), SETTINGS: json_bytes(settings)}
                write_files(self.output, files)
                print_rows(result)
            if result["curves"]:
                print_slopes(result["curves"])
                save_figure(curves_figure(result["curves"]), self.output / "curves.png")
        say(f"written to {self.output}")

    def chosen(self, case: "ModelCase") -> list[str]:
        """The implementations to measure."""
        from crate_transformer.benchmarks.bench import offered

        names = offered(case, compiled=self.compile)
        if strangers := set(self.only) - set(names):
            raise ValueError(f"--only {sorted(strangers)[0]!r} cannot be measured here: choose from {', '.join(names)}")
        return [name for name in names if name in self.only or not self.only]


def usable(device: str) -> None:
    """Refuse a device that does not exist."""
    import torch

    try:
        there = torch.zeros(1, device=device).device.type in ("cpu", "cuda")
    except (RuntimeError, AssertionError, NotImplementedError):
        there = False
    if not there:
        raise ValueError(f"--device {device} is not available: choose cpu, or cuda on a machine with an NVIDIA GPU")


def print_rows(result: dict[str, Any]) -> None:
    """One table for each task and precision."""
    from crate_transformer.reports import print_table

    say(f"{result['model']}, batch {result['batch']}, {result['threads']} threads, {result['machine']}")
    groups: dict[str, list[tuple[str, ...]]] = {}
    for row in result["rows"]:
        groups.setdefault(f"{row['task']}, {row['precision']}", []).append(
            (
                row["implementation"],
                f"{row['images_per_second']:.1f}",
                f"{row['ratio']:.2f}",
                f"{row['gflops_per_image']:.3g}",
                f"{row['ceiling_fraction']:.0%}",
                "" if row["peak_memory_mb"] is None else f"{row['peak_memory_mb']:.0f}",
            )
        )
    titles = ("model", "images/s", f"x {result['reference']}", "GFLOP", "ceiling", "MB")
    for title, rows in groups.items():
        print_table(titles, rows, title)


def print_slopes(curves: list[dict[str, Any]]) -> None:
    """One table for each cost that is measured against the number of tokens."""
    from crate_transformer.reports import print_table

    for panel in (panel for panel in curves if "slopes" in panel):
        titles = ("layer", *(f"{x:,}" for x in panel["x"]), f"slope from {panel['slope_from']:,}")
        rows = [
            (who, *(f"{value:.4g}" for value in values), "" if slope is None else f"{slope:.2f}")
            for (who, values), slope in zip(panel["series"].items(), panel["slopes"].values(), strict=True)
        ]
        first = next(iter(panel["series"]))
        for who, ratios in panel.get("speed_ratios", {}).items():
            if who != first:
                rows.append((f"{who}, times {first}'s speed", *(f"{ratio:.2f}" for ratio in ratios), ""))
        print_table(titles, rows, f"{panel['y_label']}: {panel['title']}")


def labelled(*labels: str) -> Callable[[str], None]:
    """``show`` with a prefix on each line."""
    return lambda text: show(f"{' '.join(labels)}: {text}")


def show(text: str) -> None:
    """Print a status line that the next one overwrites, on a terminal only."""
    if sys.stdout.isatty():
        print(f"\r{text:<70}", end="\r", flush=True)
