"""The configuration shared by all architectures."""

from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

_COUNTS = (
    *("in_chans", "embed_dim", "depth", "num_heads", "head_dim", "recurrences", "num_atoms", "num_class_layers"),
    *("decoder_depth", "cross_depth", "cross_head_dim", "vocab_size", "context_length"),
)
_POSITIVE = ("step_size", "mlp_ratio", "head_eps", "norm_eps", "rank_scale")
_NOT_NEGATIVE = ("sparsity_weight", "layer_scale")
_LARGEST = 1000.0


def check_numbers(config: object) -> None:
    """Check the ranges of a family's numbers, such as a step size.

    Raises:
        ValueError: a count is below 1, or another number is not above 0 (lambda and layer scale: not at least 0), above
            1000, or not finite.
    """
    for name in _COUNTS:
        if (count := getattr(config, name, None)) is not None and count < 1:
            raise ValueError(f"{name} is {count}: it must be at least 1")
    for name in _POSITIVE + _NOT_NEGATIVE:
        value = getattr(config, name, 1.0)
        if not (0 <= value <= _LARGEST and (value or name in _NOT_NEGATIVE)):
            lowest = "at least 0" if name in _NOT_NEGATIVE else "above 0"
            raise ValueError(f"{name} is {value}: it must be {lowest} and at most {_LARGEST:g}")


def choices(config_class: type) -> dict[str, tuple[str | None, ...]]:
    """The options that are words, such as a kind of pooling, and the values that each can have."""
    return {name: get_args(kind) for name, kind in get_type_hints(config_class).items() if get_origin(kind) is Literal}


def check_choices(config: object) -> None:
    """Check the options that are words.

    Raises:
        ValueError: a value is not one of its ``choices``.
    """
    for name, words in choices(type(config)).items():
        if getattr(config, name) not in words:
            raise ValueError(f"{name} is {getattr(config, name)!r}: choose {' or '.join(map(repr, words))}")


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The configuration shared by all families; sizes are in pixels, ``(height, width)`` if there are two numbers.

    Args:
        global_pool: ``""`` returns all tokens, normalised; only without classes.
        drop_rate: dropout before the head.
        drop_path_rate: stochastic depth: probability of skipping the last block; it increases linearly from 0.
        reg_tokens: register tokens after the class token (arXiv 2309.16588).
        dynamic_img_size: accept images of other sizes than ``img_size``.
        recurrences: number of consecutive blocks that share their weights.
    """

    img_size: int | tuple[int, int] = 224
    patch_size: int | tuple[int, int] = 16
    in_chans: int = 3
    num_classes: int = 1000
    global_pool: Literal["token", "avg", ""] = "token"
    embed_dim: int
    depth: int
    num_heads: int
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    reg_tokens: int = 0
    dynamic_img_size: bool = True
    recurrences: int = 1

    def __post_init__(self) -> None:
        (height, width), (rows, columns) = self.image_shape, self.patch_shape
        if min(height, width, rows, columns) < 1:
            raise ValueError(f"img_size {self.img_size} and patch_size {self.patch_size} must be at least 1 pixel")
        if height < rows or width < columns:
            raise ValueError(f"img_size {self.img_size} is smaller than one patch of {rows} x {columns} pixels")
        if height % rows or width % columns:
            raise ValueError(f"img_size {self.img_size} is not a multiple of patch_size {self.patch_size}")
        check_choices(self)
        check_numbers(self)
        if self.num_classes < 0:
            raise ValueError(f"num_classes is {self.num_classes}: it must be 0 (no head) or more")
        if self.num_classes and not self.global_pool:
            raise ValueError("global_pool '' returns all tokens and needs num_classes=0: choose 'token' or 'avg'")
        if self.reg_tokens < 0:
            raise ValueError(f"reg_tokens is {self.reg_tokens}: it must be 0 or more")
        for name in ("drop_rate", "drop_path_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 0 and below 1")

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return _pair(self.img_size)

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        return _pair(self.patch_size)
