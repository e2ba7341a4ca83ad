"""The options that say which weights a command takes."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from crate_transformer.models import Backbone


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights; the options beside --checkpoint tell of an official checkpoint what its tensors do not."""

    checkpoint: str = "crate_mini_patch8_64.tiny_imagenet_100"
    """A folder, a file, or the name of weights in the box."""
    num_heads: int | None = None
    """Heads per layer."""
    global_pool: Literal["token", "avg"] | None = None
    """Classify by the class token or by the mean of all tokens."""
    img_size: int | None = None
    """Side in pixels of the square images of the training."""

    def load(self) -> "Backbone":
        """The model, in evaluation mode."""
        from crate_transformer.checkpoints import load_checkpoint

        hints = {field.name: getattr(self, field.name) for field in fields(Checkpoint) if field.name != "checkpoint"}
        return load_checkpoint(self.checkpoint, **{name: hint for name, hint in hints.items() if hint is not None})
