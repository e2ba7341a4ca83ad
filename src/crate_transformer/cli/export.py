"""``crate export``."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from crate_transformer.cli.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class Command:
    """Write a model for other runtimes: .onnx for ONNX Runtime, .pt2 for torch.export.

    Takes images of any batch, height and width (multiples of the patch), normalised as the JSON file beside the output
    says, and gives logits. The result is compared with PyTorch before it is kept.
    """

    output: Annotated[Path, tyro.conf.Positional]
    """File to write; its ending decides: .onnx or .pt2."""
    weights: Checkpoint = field(default_factory=Checkpoint)
    fold: bool = True
    """Fold the matrices of every layer for inference; exact up to rounding."""
    int8: bool = False
    """Store the weights in 8 bits; see docs/results.md for what that does to the accuracy."""
    dynamic: bool = True
    """Any height and width; --no-dynamic fixes the model's own."""

    def __call__(self) -> None:
        import torch

        from crate_transformer.integrations.export import check_export, export_onnx, export_program
        from crate_transformer.layers import quantise_linears
        from crate_transformer.storage import write_files

        if self.output.suffix not in (".onnx", ".pt2"):
            raise ValueError(f"{self.output} should end in .onnx or .pt2")
        model = self.weights.load()
        exported = model.fold() if self.fold or self.int8 else model
        if self.int8:
            quantise_linears(exported)
        program = export_program(exported, dynamic=self.dynamic)
        self.output.parent.mkdir(parents=True, exist_ok=True)
        part = self.output.with_name(f".{self.output.stem}.part{self.output.suffix}")
        try:
            if part.suffix == ".onnx":
                export_onnx(program, part)
            else:
                torch.export.save(program, part)
            difference = check_export(part, exported, dynamic=self.dynamic)
            part.replace(self.output)
        finally:
            part.unlink(missing_ok=True)
        description = {
            "model": model.provenance.source,
            "family": type(model).__name__,
            "preprocessing": asdict(model.preprocessing),
            "class_names": model.class_names,
            "folded": self.fold or self.int8,
            "int8": self.int8,
            "bytes": self.output.stat().st_size,
            "largest_difference": difference,
        }
        text = json.dumps(description, indent=1, ensure_ascii=False)
        write_files(self.output.parent, {f"{self.output.name}.json": f"{text}\n".encode()})
        print(
            f"{self.output}: {description['bytes'] / 1e6:.1f} MB, "
            f"logits within {description['largest_difference']:.1e} of PyTorch's"
        )
