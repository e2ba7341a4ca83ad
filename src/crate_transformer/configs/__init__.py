"""Settings as frozen dataclasses that import nothing heavy: the command line reads them before PyTorch is there."""

from crate_transformer.configs.augmentation import AugmentConfig, MultiCropConfig

__all__ = ["AugmentConfig", "MultiCropConfig"]
