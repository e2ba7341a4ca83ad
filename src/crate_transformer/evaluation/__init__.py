"""Evaluation of trained models, with controls."""

from crate_transformer.evaluation.accuracy import Accuracy, AccuracyCounts, accuracy, accuracy_counts
from crate_transformer.evaluation.average_precision import AveragePrecision, average_precision
from crate_transformer.evaluation.candidates import Candidates, attention_with_controls
from crate_transformer.evaluation.comparison import Comparison, Estimate, compare, compare_draws
from crate_transformer.evaluation.emergence import Emergence, emergence
from crate_transformer.evaluation.features import FrozenFeatures, frozen_features
from crate_transformer.evaluation.knn import KNN, knn
from crate_transformer.evaluation.linear_probe import LinearProbe, linear_probe
from crate_transformer.evaluation.localisation import CorLoc, corloc
from crate_transformer.evaluation.maskcut_ap import MaskCutPrecision, maskcut_average_precision
from crate_transformer.evaluation.miou import AttentionMIoU, MIoU, attention_miou, coarse_miou
from crate_transformer.evaluation.pointing import PartPointing, part_pointing
from crate_transformer.evaluation.scores import MaskScore, top_iou
from crate_transformer.evaluation.segmentation import SegmentationReport, attention_segmentation
from crate_transformer.inspection.agreement import rank_auc

__all__ = [
    "Accuracy",
    "AccuracyCounts",
    "AttentionMIoU",
    "AveragePrecision",
    "Candidates",
    "Comparison",
    "CorLoc",
    "Emergence",
    "Estimate",
    "FrozenFeatures",
    "KNN",
    "LinearProbe",
    "MIoU",
    "MaskCutPrecision",
    "MaskScore",
    "PartPointing",
    "SegmentationReport",
    "accuracy",
    "accuracy_counts",
    "attention_miou",
    "attention_segmentation",
    "attention_with_controls",
    "average_precision",
    "coarse_miou",
    "compare",
    "compare_draws",
    "corloc",
    "emergence",
    "frozen_features",
    "knn",
    "linear_probe",
    "maskcut_average_precision",
    "part_pointing",
    "rank_auc",
    "top_iou",
]
