"""``crate export``."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from crate_transformer.cli.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class Command:
    """Export a model: .onnx for ONNX Runtime, .pt2 for torch.export.

    The exported model takes images of any batch size, height and width (multiples of the patch size) and returns
    logits. The JSON file beside it describes the normalisation. Before the file is written, its outputs are compared
    with PyTorch.
    """

    output: Annotated[Path, tyro.conf.Positional]
    """Output file, ending in .onnx or .pt2."""
    weights: Checkpoint = field(default_factory=Checkpoint)
    fold: bool = True
    """Fold the matrices of every layer for inference; exact up to rounding."""
    int8: bool = False
    """Store the weights in 8 bits; docs/results.md has the effect on accuracy."""
    dynamic: bool = True
    """Accept any height and width; --no-dynamic fixes them to those of the model's preprocessing."""
    overwrite: bool = False
    """Replace a file that was made from another model."""

    def __call__(self) -> None:
        from crate_transformer.cli.outputs import check_source
        from crate_transformer.cli.terminal import say
        from crate_transformer.integrations.export import check_export, export_program, onnx_content, program_content
        from crate_transformer.layers import quantise_linears
        from crate_transformer.progress import ProgressLine
        from crate_transformer.storage import json_text, write_files

        if self.output.suffix not in (".onnx", ".pt2"):
            raise ValueError(f"{self.output} must end in .onnx or .pt2")
        if self.int8 and not self.fold:
            raise ValueError("--no-fold would be ignored: with --int8 the matrices are always folded")
        described = self.output.with_name(f"{self.output.name}.json")
        model = self.weights.load_vision()
        made_of = {
            "model": model.provenance.source,
            "hints": dict(model.provenance.hints),
            "folded": self.fold or self.int8,
            "int8": self.int8,
            "dynamic": self.dynamic,
        }
        if not self.overwrite:
            check_source((self.output, described), described, made_of)
        exported = model.fold() if self.fold or self.int8 else model
        if self.int8:
            quantise_linears(exported)
        with ProgressLine(f"writing {self.output}", 3) as line:
            line.update(0, "tracing the model")
            program = export_program(exported, dynamic=self.dynamic)
            line.update(1, "converting")
            content = onnx_content(program) if self.output.suffix == ".onnx" else program_content(program)
            line.update(2, "comparing it with PyTorch")
            difference = check_export(content, exported, dynamic=self.dynamic)
            line.update(3)
        description = {
            **made_of,
            "family": type(model).__name__,
            "preprocessing": asdict(model.preprocessing),
            "class_names": model.class_names,
            "exclusive_classes": model.exclusive_classes,
            "bytes": len(content),
            "largest_difference": difference,
        }
        text = f"{json_text(description, indent=1)}\n".encode()
        write_files(self.output.parent, {self.output.name: content, described.name: text})
        say(f"{self.output}: {len(content) / 1e6:.1f} MB, logits within {difference:.1e} of PyTorch's")
