"""``crate quickstart``."""

from dataclasses import dataclass
from pathlib import Path

from crate_transformer.cli.terminal import say


@dataclass(frozen=True, kw_only=True)
class Command:
    """Train a small CRATE and a ViT on generated images of digits, and compare what their layers and heads do.

    Takes two and a half to four minutes on two cores with fast 16-bit products (AVX512-BF16, AMX), and half as long
    again without them; the remaining time is shown. It starts with the bundled model on photographs. After Ctrl-C, the
    same command resumes from the saved state.
    """

    output: Path = Path("runs/quickstart")
    """Folder for report.html, metrics.json, figures and checkpoints."""
    steps: int = 900
    """Optimiser steps for each model."""
    seed: int = 0
    overwrite: bool = False
    """Replace runs with other settings in this folder."""

    def __call__(self) -> None:
        from crate_transformer.recipes.quickstart import QuickstartConfig, quickstart

        config = QuickstartConfig(steps=self.steps, seed=self.seed)
        page = quickstart(self.output, config, overwrite=self.overwrite)
        say(f"report: {page}", f"numbers: {self.output / 'metrics.json'}")
