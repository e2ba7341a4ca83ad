"""Numbers about trained models, each beside the controls without which it means nothing."""

from crate_transformer.evaluation.accuracy import Accuracy, accuracy
from crate_transformer.evaluation.scores import MaskScore, rank_auc, top_iou
from crate_transformer.evaluation.segmentation import SegmentationReport, attention_segmentation

__all__ = [
    "Accuracy",
    "MaskScore",
    "SegmentationReport",
    "accuracy",
    "attention_segmentation",
    "rank_auc",
    "top_iou",
]
