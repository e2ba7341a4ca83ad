"""``crate convert``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from crate_transformer.cli.checkpoint import Checkpoint

if TYPE_CHECKING:
    from crate_transformer.models import Model


@dataclass(frozen=True, kw_only=True)
class Command(Checkpoint):
    """Convert a checkpoint of any supported format to this package's format, or back to the official one of its family.

    The output folder contains model.safetensors, config.json and a model card that says what was inferred, assumed and
    dropped.
    """

    checkpoint: Annotated[str, tyro.conf.Positional] = field()
    """A folder, a file, or the name of bundled weights."""
    output: Annotated[Path, tyro.conf.Positional] = field()
    """Output folder; with --to official, output file."""
    to: Literal["crate-transformer", "official"] = "crate-transformer"
    """Format to write."""
    overwrite: bool = False
    """Replace a checkpoint that was converted from something else."""

    def __call__(self) -> None:
        from crate_transformer.cli.terminal import say

        self.check_input_stays()
        model = self.load_any()
        say(*str(model.provenance).splitlines())
        kind = self.write_official(model) if self.to == "official" else self.write_folder(model)
        say(f"written to {self.output} ({kind})")

    def check_input_stays(self) -> None:
        """Refuse to overwrite the input."""
        from crate_transformer.checkpoints.native import CARD, CONFIG, WEIGHTS

        ours = (WEIGHTS, CONFIG, CARD)
        given, written = Path(self.checkpoint), [self.output]
        if given.is_file() and given.name in ours:
            given = given.parent
        read = [given / name for name in ours] if given.is_dir() else [given]
        if self.to != "official":
            written = [self.output / name for name in ours]
        both = {path.resolve() for path in read} & {path.resolve() for path in written}
        if both:
            raise ValueError(
                f"{self.output} would overwrite {min(both).name} of {self.checkpoint}: choose another output"
            )

    def write_official(self, model: "Model") -> str:
        """Write the official format; returns its name."""
        from crate_transformer.checkpoints.loading import official_content
        from crate_transformer.cli.outputs import check_content
        from crate_transformer.storage import write_file

        if self.output.is_dir():
            raise ValueError(f"{self.output} is a folder: --to official writes one file, such as model.pth")
        content, kind = official_content(model)
        if not self.overwrite:
            check_content(self.output, content)
        write_file(self.output, content)
        return kind

    def write_folder(self, model: "Model") -> str:
        """Write this package's format; returns its name."""
        from crate_transformer.checkpoints import model_card, save_checkpoint
        from crate_transformer.checkpoints.native import CARD, CONFIG, FORMAT, WEIGHTS
        from crate_transformer.cli.outputs import check_source

        made_of = {"converted_from": model.provenance.source, "converted_with": dict(model.provenance.hints)}
        if not self.overwrite:
            files = [self.output / name for name in (CONFIG, WEIGHTS, CARD)]
            check_source(files, self.output / CONFIG, made_of, "metadata")
        metadata = {**model.provenance.metadata, **made_of}
        card = model_card(model, self.output.name, metadata)
        save_checkpoint(model, self.output, metadata=metadata, model_card=card)
        return FORMAT
