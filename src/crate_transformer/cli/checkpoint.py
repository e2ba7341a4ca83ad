"""The options that say which weights a command takes."""

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from crate_transformer.models import Backbone, Model


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights; the options beside --checkpoint tell of an official checkpoint what its tensors do not."""

    checkpoint: str = "crate_mini_patch8_64.tiny_imagenet_100"
    """A folder, a file, or the name of bundled weights."""
    num_heads: int | None = None
    """Heads per layer."""
    sparsity_weight: float | None = None
    """Lambda of the training, which no checkpoint of CRATE or CRATE-MAE tells."""
    step_size: float | None = None
    """Eta of the training, which no checkpoint tells."""
    weights: str | None = None
    """Which of several sets of weights in the file, such as model_ema of ToST."""
    global_pool: Literal["token", "avg"] | None = None
    """Classify by the class token or by the mean of all tokens."""
    num_classes: int | None = None
    """Which of two heads, where a file has them."""
    img_size: tuple[int, ...] | None = None
    """Side in pixels of the square images of the training, or height and width."""
    patch_size: tuple[int, ...] | None = None
    """Side in pixels of the square patches, or height and width."""
    in_chans: int | None = None
    """Channels of the images."""
    max_expansion: int | None = None
    """How many times its size on disk a file may take in memory, 16 unless given."""

    def load_any(self) -> "Model":
        """The model, in evaluation mode."""
        from crate_transformer.checkpoints import load_checkpoint

        hints = {field.name: getattr(self, field.name) for field in fields(Checkpoint) if field.name != "checkpoint"}
        hints = {name: hint for name, hint in hints.items() if hint is not None}
        for name in {"img_size", "patch_size"} & hints.keys():
            hints[name] = hints[name][0] if len(hints[name]) == 1 else hints[name]
        try:
            return load_checkpoint(self.checkpoint, **hints)
        except ValueError as error:
            raise ValueError(_as_options(str(error))) from error

    def load(self) -> "Backbone":
        """The model, in evaluation mode, which must be one for pictures."""
        from crate_transformer.models import Backbone

        model = self.load_any()
        if not isinstance(model, Backbone):
            raise ValueError(
                f"{self.checkpoint} is a language model ({type(model).__name__}): this command takes pictures"
            )
        return model


def _as_options(sentence: str) -> str:
    """The sentence with hints as the command line has them: ``num_heads=3`` is ``--num-heads 3`` there."""
    names = "|".join(field.name for field in fields(Checkpoint))
    return re.sub(rf"\b({names})=(\S?)", lambda found: f"--{found[1].replace('_', '-')} {found[2]}".rstrip(), sentence)
