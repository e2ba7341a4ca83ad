"""Does the attention of a model mark objects? All measures of a set of images with masks, each beside its controls."""

from dataclasses import dataclass, replace

import numpy as np

from crate_transformer.data import (
    SegmentationSample,
    SegmentationSamples,
    foregrounds,
    normalise,
    resize_and_centre_crop,
)
from crate_transformer.evaluation.candidates import attention_with_controls
from crate_transformer.evaluation.comparison import Comparison, compare, compare_draws
from crate_transformer.evaluation.localisation import LOCATED, CorLoc, corloc, largest_boxes
from crate_transformer.evaluation.maskcut_ap import MaskCutPrecision, maskcut_average_precision
from crate_transformer.evaluation.miou import AttentionMIoU, attention_miou
from crate_transformer.evaluation.segmentation import SegmentationReport, attention_segmentation
from crate_transformer.inspection.controls import UNTRAINED_MODELS
from crate_transformer.models import Backbone
from crate_transformer.progress import tracked

COCO_COVERAGE = (0.03, 0.60)
"""Fraction of an image that the objects may cover in COCO, where they are all things in it."""


@dataclass(frozen=True, kw_only=True)
class Emergence:
    """Agreement of a model with the masks of one set of images.

    ``measures``: ``auc`` and ``miou`` from ``attention_segmentation``, ``miou_entries`` and ``miou_mass`` from
    ``attention_miou`` with a fixed head, ``corloc`` from boxes around the largest connected parts, and
    ``maskcut_ap`` (of masks; without single objects the whole mask is the object). Layer, head and sign of the model
    and of its controls are never chosen on the images that are reported. ``untrained`` is the highest of five untrained
    models: an untrained model is the highest of six once in six.
    """

    measures: dict[str, Comparison]
    segmentation: SegmentationReport
    miou: AttentionMIoU
    corloc: CorLoc
    maskcut: MaskCutPrecision | None
    num_images: int
    has_objects: bool
    seed: int

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "measures": {name: measure.to_dict() for name, measure in self.measures.items()},
            "above_rule": "the mean difference, paired over images, is more than two standard errors",
            "untrained_rule": f"the highest of {UNTRAINED_MODELS} random initialisations, for each measure",
            "num_images": self.num_images,
            "seed": self.seed,
            "attention_segmentation": self.segmentation.to_dict(),
            "attention_miou": self.miou.to_dict(),
            "corloc": self.corloc.to_dict() | {"box_rule": "the box of the largest connected part of the mask"},
            "maskcut": self.maskcut.to_dict() if self.maskcut else None,
            "maskcut_objects": "single objects" if self.has_objects else "the whole mask of an image is one object",
        }


def emergence(
    model: Backbone,
    samples: SegmentationSamples,
    *,
    size: int,
    maskcut_size: int = 480,
    layer: int = -1,
    seed: int = 0,
    show: bool = False,
) -> Emergence:
    """Measure a model on images with masks.

    Args:
        size: side in pixels of the squares for attention, a multiple of the patch size.
        maskcut_size: side in pixels for MaskCut; 0 skips it, which takes most of the time.
        layer: of MaskCut's features and of the best heads in ``attention_miou``.
        seed: of the division into halves, the untrained models and the resampled images.

    Raises:
        ValueError: as in ``attention_segmentation``, ``attention_miou``, ``corloc`` and ``maskcut_average_precision``.
    """
    arrays = resize_and_centre_crop(tracked("images", samples, len(samples), show=show), size)
    options = {"seed": seed, "show": show}
    maps = list(attention_with_controls(model, arrays.pixels, **options))
    miou = attention_miou(model, arrays, layer=layer, maps=maps, **options)
    coverage = COCO_COVERAGE if samples.layout == "coco" else (0.0, 1.0)
    whole = foregrounds(arrays, coverage=coverage)
    images = normalise(whole.pixels, model.preprocessing)
    kept = (some.on(whole.index) for some in maps)
    segmentation = attention_segmentation(
        {"model": model}, images, whole.masks, whole.pixels, undecided=whole.undecided, signs=True, maps=kept, **options
    )
    shown = np.flatnonzero(whole.masks.any(dim=2).any(dim=1).numpy())
    boxes = np.concatenate([largest_boxes(mask[None]) for mask in whole.masks.numpy()[shown]]).astype(np.float64)
    undecided = None if whole.undecided is None else whole.undecided[shown]
    kept = (some.on(whole.index[shown]) for some in maps)
    located = corloc(model, whole.pixels[shown], boxes, undecided=undecided, maps=kept, **options)
    measures = {
        "auc": _of_report(segmentation, "auc"),
        "miou": _of_report(segmentation, "miou"),
        **{
            f"miou_{reading}": compare(
                {row: score.per_image for row, score in rows.items()},
                {row: score.choices for row, score in rows.items()},
            )
            for reading, rows in miou.fixed_head.items()
        },
        "corloc": _of_hits(located),
    }
    cuts = None
    if maskcut_size:
        objects = samples if samples.has_objects else map(_as_one_object, samples)
        objects = tracked("MaskCut", objects, len(samples), show=show)
        cuts = maskcut_average_precision(model, objects, size=maskcut_size, layer=layer, seed=seed)
        masks = {row: kinds["mask"] for row, kinds in cuts.rows.items()}
        measures["maskcut_ap"] = compare_draws(
            {row: score.ap for row, score in masks.items()},
            {row: np.array(score.draws) for row, score in masks.items()},
        )
    return Emergence(
        measures=measures,
        segmentation=segmentation,
        miou=miou,
        corloc=located,
        maskcut=cuts,
        num_images=len(samples),
        has_objects=samples.has_objects,
        seed=seed,
    )


def _of_report(report: SegmentationReport, metric: str) -> Comparison:
    scores = {
        row.removeprefix("model_"): score
        for row, score in getattr(report, metric).items()
        if not row.endswith("_centred")
    }
    choices = {row: (score.choices,) for row, score in scores.items()}
    return compare({row: score.per_image for row, score in scores.items()}, choices)


def _of_hits(found: CorLoc) -> Comparison:
    hits = {row: (score.per_image >= LOCATED).reshape(-1, found.num_images) for row, score in found.rows.items()}
    choices = {row: score.choices for row, score in found.rows.items()}
    return compare({row: each.mean(axis=0) for row, each in hits.items()}, choices)


def _as_one_object(sample: SegmentationSample) -> SegmentationSample:
    """The whole mask as the only object; none without a mask."""
    masks = list(sample.classes.values())
    return replace(sample, objects=(np.any(masks, axis=0),), crowd=(False,)) if masks else sample
