"""Settings as frozen dataclasses without heavy imports: the command line reads them before PyTorch is imported."""

from crate_transformer.configs.augmentation import AugmentConfig, MultiCropConfig

__all__ = ["AugmentConfig", "MultiCropConfig"]
