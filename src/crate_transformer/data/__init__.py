"""Data: reading images and text, preprocessing, augmentation, data sets, loaders, and generated digit images."""

from crate_transformer.data.arrays import ArrayImages
from crate_transformer.data.augment import EvalView, MultiCropView, TrainView
from crate_transformer.data.batches import Batch
from crate_transformer.data.decode import BrokenImageError, read_image
from crate_transformer.data.digits import Digits, DigitsConfig, digits
from crate_transformer.data.folder import ImageFolder
from crate_transformer.data.images import list_images, read_images
from crate_transformer.data.labelled import LabelledFiles
from crate_transformer.data.layout import Split, open_evaluation, open_images, open_split
from crate_transformer.data.loader import eval_loader, ordered_loader, train_loader
from crate_transformer.data.masked import VOID, Masked, MaskedArrays, MaskedFiles, masked_digits
from crate_transformer.data.masked_layout import open_masked
from crate_transformer.data.masked_view import MaskedView
from crate_transformer.data.memory import fits_in_memory, in_memory, to_arrays
from crate_transformer.data.mixing import mix, one_hot
from crate_transformer.data.order import Order
from crate_transformer.data.part_files import is_part_folder, open_part_samples
from crate_transformer.data.part_samples import PartArrays, PartSample, PartSamples, crop_parts
from crate_transformer.data.photographs import PHOTOGRAPHS, photograph
from crate_transformer.data.runs import decode_mask, encode_mask
from crate_transformer.data.segmentation import find_segmentation, open_segmentation
from crate_transformer.data.segmentation_samples import (
    Foregrounds,
    SegmentationArrays,
    SegmentationSample,
    SegmentationSamples,
    crop_foregrounds,
    foregrounds,
    resize_and_centre_crop,
)
from crate_transformer.data.source import Samples, Source, View
from crate_transformer.data.text import open_evaluation_text, open_text
from crate_transformer.data.tokenizer import open_tokenizer
from crate_transformer.data.tokens import NO_TOKEN, Tokens, window
from crate_transformer.data.transforms import MAX_ASPECT, middle, normalise, pixels, preprocess, resize_crop
from crate_transformer.data.wordnet import imagenet_words
from crate_transformer.renamed import old_names

__getattr__ = old_names(
    __name__,
    {
        "Scene": "SegmentationSample",
        "SceneSet": "SegmentationSamples",
        "SceneArrays": "SegmentationArrays",
        "open_scenes": "open_segmentation",
        "cut_square": "resize_and_centre_crop",
        "cut_foregrounds": "crop_foregrounds",
    },
)

__all__ = [
    "MAX_ASPECT",
    "NO_TOKEN",
    "PHOTOGRAPHS",
    "VOID",
    "ArrayImages",
    "Batch",
    "BrokenImageError",
    "Digits",
    "DigitsConfig",
    "EvalView",
    "Foregrounds",
    "ImageFolder",
    "LabelledFiles",
    "Masked",
    "MaskedArrays",
    "MaskedFiles",
    "MaskedView",
    "MultiCropView",
    "Order",
    "PartArrays",
    "PartSample",
    "PartSamples",
    "Samples",
    "SegmentationSample",
    "SegmentationArrays",
    "SegmentationSamples",
    "Source",
    "Split",
    "Tokens",
    "TrainView",
    "View",
    "crop_foregrounds",
    "crop_parts",
    "resize_and_centre_crop",
    "decode_mask",
    "digits",
    "encode_mask",
    "eval_loader",
    "find_segmentation",
    "fits_in_memory",
    "foregrounds",
    "imagenet_words",
    "in_memory",
    "is_part_folder",
    "masked_digits",
    "open_masked",
    "list_images",
    "middle",
    "mix",
    "normalise",
    "one_hot",
    "open_evaluation",
    "open_evaluation_text",
    "open_images",
    "open_part_samples",
    "open_segmentation",
    "open_split",
    "open_text",
    "open_tokenizer",
    "ordered_loader",
    "photograph",
    "pixels",
    "preprocess",
    "read_image",
    "read_images",
    "resize_crop",
    "to_arrays",
    "train_loader",
    "window",
]
