"""Pictures in: reading, preprocessing, labelled sets, loaders, generated data."""

from crate_transformer.data.arrays import ArrayImages
from crate_transformer.data.folder import ImageFolder, fits_in_memory
from crate_transformer.data.layout import Split, open_images, open_split
from crate_transformer.data.loader import eval_loader, train_loader
from crate_transformer.data.transforms import Augment, normalise, pixels, preprocess

__all__ = [
    "ArrayImages",
    "Augment",
    "ImageFolder",
    "Split",
    "eval_loader",
    "fits_in_memory",
    "normalise",
    "open_images",
    "open_split",
    "pixels",
    "preprocess",
    "train_loader",
]
