"""Learning from another model."""

from dataclasses import dataclass

from crate_transformer.configs.checks import check_fraction, check_positive
from crate_transformer.configs.classification import ClassificationConfig


@dataclass(frozen=True, kw_only=True)
class DistillationConfig(ClassificationConfig):
    """Giving the answers of a teacher (arXiv 1503.02531), and those of the labels."""

    teacher: str
    """A model that knows the classes of the data by name: a checkpoint (folder, file, bundled weights), timm:NAME,
    hf:NAME (a model of transformers, on the hub or in a folder), or an .onnx file (NAME.onnx.json beside it tells
    class_names and preprocessing, as 'crate export' writes it)."""
    temperature: float = 2.0
    """The logits of both are divided by it, which shows what the teacher thinks of the less likely classes."""
    label_weight: float = 0.5
    """Weight of the cross entropy against the labels; what is left of 1 is that of the teacher."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "temperature")
        check_fraction(self, "label_weight")
