"""Definition of an official checkpoint format: how it is recognised, and how its tensors are converted."""

import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from crate_transformer.checkpoints.sizes import as_pair
from crate_transformer.models import DEPICTConfig, Model, ModelConfig, choices


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A converted official checkpoint; every stored tensor is either in ``tensors`` or in ``dropped``."""

    model_class: type[Model]
    config: ModelConfig
    tensors: dict[str, Tensor]
    stored_names: dict[str, str]
    """Own name -> official name."""
    inferred: dict[str, Any]
    assumed: dict[str, Any] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    preprocessing: dict[str, Any] = field(default_factory=dict)
    """Fields of ``Preprocessing`` that differ from its defaults."""

    @classmethod
    def of(
        cls,
        model_class: type[Model],
        config_class: type[ModelConfig],
        tensors: dict[str, Tensor],
        table: Mapping[str, str],
        inferred: Mapping[str, Any],
        assumed: Mapping[str, Any],
        hints: Mapping[str, Any],
        *,
        preprocessing: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> "Converted":
        """A checkpoint whose options follow from the tensors, from hints, or are assumed.

        Args:
            table: official name -> own name.
            assumed: options that the tensors do not show; those inferred and hints replace them.
            others: further fields.

        Raises:
            ValueError: a hint contradicts what was inferred.
        """
        validate_hints(config_class, inferred, hints)
        assumed = {name: value for name, value in assumed.items() if name not in hints and name not in inferred}
        return cls(
            model_class=model_class,
            config=config_class(**assumed | dict(inferred) | dict(hints)),
            tensors=tensors,
            stored_names={own: key for key, own in table.items()},
            inferred={name: value for name, value in inferred.items() if name not in hints},
            assumed=assumed | dict(preprocessing or {}),
            preprocessing=dict(preprocessing or {}),
            **others,
        )


@dataclass(frozen=True)
class OfficialFormat:
    """One published checkpoint format. ``convert(tensors, hints)`` raises a ``ValueError`` that names the tensor."""

    name: str
    recognises: Callable[[AbstractSet[str]], bool]
    convert: Callable[[Mapping[str, Tensor], Mapping[str, Any]], Converted]
    restore: tuple[type[Model], Callable[[Any], dict[str, Any]]] | None = None
    """The family that can be written in this format, and a function that makes the object for ``torch.save``."""


def validate_hints(
    config_class: type[ModelConfig | DEPICTConfig], inferred: Mapping[str, Any], hints: Mapping[str, Any]
) -> None:
    """Check hints against the tensors.

    Raises:
        ValueError: a hint is not a field of the configuration, not a number, or contradicts the tensors.
    """
    valid, words = config_class.__dataclass_fields__, choices(config_class)
    for name, value in hints.items():
        if name not in valid:
            raise ValueError(f"{name!r} is not an option of this model; its options are {', '.join(sorted(valid))}")
        checked_later = name in ("img_size", "patch_size") or name in words
        if not checked_later and not _is_number(value, valid[name].default):
            raise ValueError(f"{name}={value!r} is not a valid number for this option")
        if name in inferred and as_pair(name, inferred[name]) != as_pair(name, value):
            raise ValueError(f"{name}={value} contradicts the tensors, which say {inferred[name]}")


def _is_number(value: object, default: object) -> bool:
    """Whether an option with this default can have this value: an integer if the default is one."""
    if value is None:
        return default is None
    kinds = int | float if isinstance(default, float) else int
    return isinstance(value, kinds) and (isinstance(value, int) or math.isfinite(value))
