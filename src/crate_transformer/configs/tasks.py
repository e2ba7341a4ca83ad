"""The training objectives by their names on the command line."""

from typing import Literal

from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.distillation import DistillationConfig
from crate_transformer.configs.language import LanguageConfig
from crate_transformer.configs.mae import MAEConfig
from crate_transformer.configs.segmentation import SegmentationConfig
from crate_transformer.configs.simdino import SimDINOConfig

TaskConfig = ClassificationConfig | DistillationConfig | MAEConfig | SegmentationConfig | SimDINOConfig | LanguageConfig
TaskName = Literal["classification", "distillation", "mae", "segmentation", "simdino", "language"]

TASKS: dict[TaskName, type[TaskConfig]] = {
    "classification": ClassificationConfig,
    "distillation": DistillationConfig,
    "mae": MAEConfig,
    "segmentation": SegmentationConfig,
    "simdino": SimDINOConfig,
    "language": LanguageConfig,
}
