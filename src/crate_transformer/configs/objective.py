"""What every objective requires of the model and the data."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """A training objective; ``training/tasks`` implements it."""

    default_model: ClassVar[str] = "crate_mini_patch8_64"
    """The model to train by default."""
    teaches_classes: ClassVar[bool] = False
    """Whether the model learns the classes of the data, which must then have labels."""
    needs_decoder: ClassVar[bool] = False
    """Whether the model needs a decoder for masked patches."""

    def model_options(self, num_classes: int) -> dict[str, object]:
        """Options of a new model that differ from its registered configuration.

        Args:
            num_classes: number of classes of the data.
        """
        return {"num_classes": num_classes if self.teaches_classes else 0}
