"""The options that choose the weights."""

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from crate_transformer.models import Backbone, Model, VisionModel


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights. The other options give what cannot be inferred from the tensors of a file without configuration."""

    checkpoint: str = "crate_compact_patch8_64.tiny_imagenet_100_caltech"
    """A folder, a file, or the name of bundled weights."""
    model: str | None = None
    """Name of the model, for weights of this package without config.json whose model cannot be found by its shapes."""
    num_heads: int | None = None
    """Attention heads per layer."""
    sparsity_weight: float | None = None
    """Lambda used in training; official checkpoints of CRATE and CRATE-MAE do not contain it."""
    step_size: float | None = None
    """Eta used in training; official checkpoints do not contain it."""
    weights: str | None = None
    """Which set of weights to load if the file contains several, such as model_ema for ToST, or which module."""
    global_pool: Literal["token", "avg"] | None = None
    """Pooling before the classifier: the class token (token) or the mean of all tokens (avg)."""
    num_classes: int | None = None
    """Choose the classification head by its number of classes if the file contains two heads."""
    img_size: tuple[int, ...] | None = None
    """Training image size in pixels: one number for square images, or height and width."""
    patch_size: tuple[int, ...] | None = None
    """Patch size in pixels: one number for square patches, or height and width."""
    in_chans: int | None = None
    """Number of image channels."""
    max_expansion: int | None = None
    """Largest ratio of a file's size in memory to its size on disk; default 16."""

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

    def load_vision(self) -> "VisionModel":
        """The vision model, in evaluation mode."""
        from crate_transformer.models import Segmenter, backbone_of

        model = self.load_any()
        return model if isinstance(model, Segmenter) else backbone_of(model, self.checkpoint)

    def load(self) -> "Backbone":
        """The vision model, in evaluation mode; of a segmenter, its backbone."""
        from crate_transformer.cli.terminal import say
        from crate_transformer.models import Segmenter, backbone_of

        model = self.load_any()
        if isinstance(model, Segmenter):
            say(f"{self.checkpoint} is a segmenter: this command uses its backbone")
        return backbone_of(model, self.checkpoint)


def _as_options(sentence: str) -> str:
    """The sentence with hints written as options: ``num_heads=3`` becomes ``--num-heads 3``."""
    names = "|".join(field.name for field in fields(Checkpoint))
    return re.sub(rf"\b({names})=(\S?)", lambda found: f"--{found[1].replace('_', '-')} {found[2]}".rstrip(), sentence)
