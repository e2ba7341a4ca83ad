"""``crate models``."""

import fnmatch
from dataclasses import dataclass
from typing import Annotated

import tyro

from crate_transformer.cli.terminal import print_json, say


@dataclass(frozen=True, kw_only=True)
class Command:
    """List the models with their sizes, parameters and bundled weights; language models come last."""

    pattern: Annotated[str, tyro.conf.Positional] = "*"
    """Shell pattern, such as 'crate_*'."""
    json: bool = False
    """Print JSON instead of a table."""

    def __call__(self) -> None:
        import torch

        from crate_transformer.checkpoints import list_pretrained
        from crate_transformer.models import (
            LANGUAGE_MODELS,
            BackboneConfig,
            build_language_model,
            build_model,
            list_models,
        )

        names = [*list_models(self.pattern), *sorted(fnmatch.filter(LANGUAGE_MODELS, self.pattern))]
        if not names:
            raise ValueError(f"no model matches {self.pattern!r}: 'crate models' lists all models")
        rows = []
        for name in names:
            with torch.device("meta"):
                model = build_language_model(name) if name in LANGUAGE_MODELS else build_model(name)
            config = model.config
            if isinstance(config, BackboneConfig):
                takes = {"image": config.img_size, "patch": config.patch_size, "classes": config.num_classes}
            else:
                takes = {"vocabulary": config.vocab_size, "context": config.context_length}
            rows.append(
                {
                    "name": name,
                    **takes,
                    "width": config.embed_dim,
                    "depth": config.depth,
                    "heads": config.num_heads,
                    "parameters": sum(p.numel() for p in model.parameters()),
                    "weights": [tag.partition(".")[2] for tag in list_pretrained() if tag.partition(".")[0] == name],
                }
            )
        if self.json:
            print_json(rows)
            return
        from rich.table import Table

        from crate_transformer.reports.table import format_cell, print_rich

        shown = ("name", "width", "depth", "heads", "parameters")  # the name tells patch and image size
        table = Table(box=None, padding=(0, 1, 0, 0))
        for heading in shown:
            table.add_column(heading, no_wrap=True)
        for row in rows:
            table.add_row(*(format_cell(row[key]) for key in shown))
        print_rich(table)
        if bundled := [f"{row['name']}.{tag}" for row in rows for tag in row["weights"]]:
            say("", "bundled weights:", *bundled)
