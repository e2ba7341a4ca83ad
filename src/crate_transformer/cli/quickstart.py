"""``crate quickstart``."""

from dataclasses import dataclass
from pathlib import Path

from crate_transformer.cli.terminal import say


@dataclass(frozen=True, kw_only=True)
class Command:
    """Train a small CRATE and a ViT on generated pictures of digits and open up what they do.

    Takes two and a half to four minutes on two cores that multiply in 16 bits (AVX512-BF16, AMX), half as long again on
    two that do not; it says how much is left. The bundled model on photographs comes first. Ctrl-C leaves a state
    from which the same command goes on.
    """

    output: Path = Path("runs/quickstart")
    """Where report.html, metrics.json, figures and checkpoints go."""
    steps: int = 900
    """Optimiser steps of each model."""
    seed: int = 0

    def __call__(self) -> None:
        from crate_transformer.recipes.quickstart import QuickstartConfig, quickstart

        page = quickstart(self.output, QuickstartConfig(steps=self.steps, seed=self.seed))
        say(f"report: {page}", f"numbers: {self.output / 'metrics.json'}")
