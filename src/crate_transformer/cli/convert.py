"""``crate convert``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from crate_transformer.cli.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class Command(Checkpoint):
    """Convert a checkpoint: any known kind into this package's folder, or back into the official kind of its family.

    The folder gets model.safetensors, config.json and a model card that tells what was found, assumed and left out.
    """

    checkpoint: Annotated[str, tyro.conf.Positional] = field()
    """A folder, a file, or the name of weights in the box."""
    output: Annotated[Path, tyro.conf.Positional] = field()
    """Folder to write; with --to official, the file."""
    to: Literal["crate-transformer", "official"] = "crate-transformer"
    """Kind of checkpoint to write."""

    def __call__(self) -> None:
        from crate_transformer.checkpoints import model_card, save_checkpoint, save_official

        model = self.load_any()
        print(model.provenance)
        if self.to == "official":
            if self.output.is_dir():
                raise ValueError(f"{self.output} is a folder: --to official writes one file, such as model.pth")
            kind = save_official(model, self.output)
        else:
            metadata = {**model.provenance.metadata, "converted_from": model.provenance.source}
            card = model_card(model, self.output.name, metadata)
            save_checkpoint(model, self.output, metadata=metadata, model_card=card)
            kind = "crate-transformer"
        print(f"written to {self.output} ({kind})")
