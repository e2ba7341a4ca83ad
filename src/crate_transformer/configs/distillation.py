"""Knowledge distillation."""

from dataclasses import dataclass

from crate_transformer.configs.checks import check_fraction, check_positive
from crate_transformer.configs.classification import ClassificationConfig


@dataclass(frozen=True, kw_only=True)
class DistillationConfig(ClassificationConfig):
    """Learning the outputs of a teacher (arXiv 1503.02531) and the labels."""

    teacher: str
    """A model whose class names include those of the data: a checkpoint (folder, file, bundled weights), timm:NAME,
    hf:NAME (a transformers model on the hub or in a folder), or an .onnx file with its class_names and preprocessing in
    NAME.onnx.json beside it, as 'crate export' writes them."""
    temperature: float = 2.0
    """Temperature: the logits of student and teacher are divided by it, which softens both distributions."""
    label_weight: float = 0.5
    """Weight of the cross entropy with the labels; the teacher's weight is 1 minus this."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "temperature")
        check_fraction(self, "label_weight")
