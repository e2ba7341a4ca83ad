"""``crate bench``."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Command:
    """Measure speed and memory side by side: this package, a textbook transcription of CRATE, a ViT of transformers.

    Turns are interleaved in one process; ratios are medians over turns. Memory is that of a fresh process each, beyond
    the built model. Writes bench.json, and scaling.png with --tokens.
    """

    model: Annotated[str, tyro.conf.Positional] = "crate_base_patch16_224"
    """A name that 'crate models' lists."""
    output: Path = Path("runs/bench")
    """Folder for the numbers and the plot."""
    tasks: tuple[Literal["inference", "training"], ...] = ("inference", "training")
    precisions: tuple[Literal["float32", "bf16"], ...] = ("float32", "bf16")
    batch: int = 8
    """Images per run."""
    repeats: int = 7
    """Turns that count."""
    threads: int = 2
    """Threads of PyTorch."""
    device: str = "cpu"
    memory: bool = True
    """Also measure peak memory."""
    tokens: bool = False
    """Also measure one layer of quadratic MSSA and linear TSSA with 256 to 4,096 tokens."""

    def __call__(self) -> None:
        import torch

        from crate_transformer.benchmarks.bench import bench, scaling
        from crate_transformer.models import canonical_name
        from crate_transformer.reports import print_table
        from crate_transformer.reports.results import write_json
        from crate_transformer.reports.speed import scaling_figure
        from crate_transformer.reports.style import save_figure

        if min(self.batch, self.repeats, self.threads) < 1:
            raise ValueError("--batch, --repeats and --threads must be at least 1")
        torch.set_num_threads(self.threads)
        self.output.mkdir(parents=True, exist_ok=True)
        result = bench(
            canonical_name(self.model),
            tasks=self.tasks,
            precisions=self.precisions,
            batch=self.batch,
            repeats=self.repeats,
            device=torch.device(self.device),
            memory=self.memory,
            show=show,
        )
        show("")
        rows = [
            (
                row["task"],
                row["precision"],
                row["contender"],
                f"{row['images_per_second']:.1f}",
                f"{row['ratio']:.2f}",
                f"{row['ceiling_fraction']:.0%}",
                f"{row['peak_memory_mb']:.0f}" if self.memory else "",
            )
            for row in result["rows"]
        ]
        titles = ("task", "precision", "model", "images/s", f"x {result['reference']}", "ceiling", "MB")
        print_table(titles, rows, f"{result['model']}, batch {self.batch}, {self.threads} threads, {result['machine']}")
        if self.tokens:
            result["scaling"] = scaling(repeats=self.repeats, device=torch.device(self.device))
            save_figure(scaling_figure(result["scaling"]), self.output / "scaling.png")
        write_json(self.output / "bench.json", result)
        print(f"written to {self.output}")


def show(text: str) -> None:
    """One line that is written over, on a terminal only."""
    if sys.stdout.isatty():
        print(f"\r{text:<70}", end="\r", flush=True)
