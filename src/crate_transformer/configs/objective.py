"""What every objective tells of the model and the pictures that it needs."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What a model is trained for; a task in ``training/tasks`` does it."""

    default_model: ClassVar[str] = "crate_mini_patch8_64"
    """The model that is trained unless another is named."""
    teaches_classes: ClassVar[bool] = False
    """Whether the model learns the classes of the data, which then must have some."""
    needs_decoder: ClassVar[bool] = False
    """Whether the model must be able to fill in patches."""

    def model_options(self, num_classes: int) -> dict[str, object]:
        """What a fresh model has otherwise than its registered configuration.

        Args:
            num_classes: of the data.
        """
        return {"num_classes": num_classes if self.teaches_classes else 0}
