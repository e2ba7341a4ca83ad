"""COCO's average precision of masks and their boxes, class-agnostic."""

import contextlib
import io
import math
import warnings
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from crate_transformer.data import encode_mask

if TYPE_CHECKING:
    from pycocotools.cocoeval import COCOeval


@dataclass(frozen=True, kw_only=True)
class AveragePrecision:
    """Mean precision over recall, at IoU 0.5, at 0.75, and averaged over 0.5, 0.55, ... 0.95 (``ap``); from 0 to 1, or
    NaN without objects. ``draws`` are the values of ``ap`` on resampled images."""

    ap: float
    ap50: float
    ap75: float
    draws: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, float]:
        """Ready for JSON; the standard error is the standard deviation of the draws."""
        found = {"ap": self.ap, "ap50": self.ap50, "ap75": self.ap75}
        return found | ({"standard_error": float(np.std(self.draws, ddof=1))} if len(self.draws) > 1 else {})


def average_precision(
    found: Sequence[Sequence[np.ndarray]],
    scores: Sequence[Sequence[float]],
    truth: Sequence[Sequence[np.ndarray]],
    crowd: Sequence[Sequence[bool]],
    resampled: Int[np.ndarray, "draws images"] | None = None,
) -> dict[str, AveragePrecision]:
    """``box`` and ``mask`` average precision with pycocotools, from one list of masks for each image.

    Empty masks in ``found`` are ignored. Matches with a crowd are neither correct nor wrong, so images with only crowds
    have no average precision.

    Args:
        scores: one for each predicted mask; predictions of all images are ranked by descending score.
        resampled: images drawn with replacement, for the draws.

    Raises:
        ValueError: the lists differ in length, or masks of one image differ in size.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if len({len(found), len(scores), len(truth), len(crowd)}) != 1:
        raise ValueError(f"there are predictions for {len(found)} images but objects for {len(truth)}")
    objects, guesses, images = [], [], []
    for image, (true, crowds, some, ranks) in enumerate(zip(truth, crowd, found, scores, strict=True)):
        sizes = {mask.shape for mask in (*true, *some)}
        if len(sizes) > 1:
            raise ValueError(f"the masks of image {image} differ in size: {', '.join(map(str, sorted(sizes)))}")
        height, width = next(iter(sizes), (1, 1))
        images.append({"id": image, "height": height, "width": width})
        objects += [_entry(mask, image, iscrowd=int(c)) for mask, c in zip(true, crowds, strict=True)]
        guesses += [_entry(mask, image, score=float(s)) for mask, s in zip(some, ranks, strict=True) if mask.any()]
    to_find = any(not entry["iscrowd"] for entry in objects)
    if not (guesses and to_find):
        score = 0.0 if to_find else math.nan
        draws = (score,) * (0 if resampled is None else len(resampled))
        return {kind: AveragePrecision(ap=score, ap50=score, ap75=score, draws=draws) for kind in ("box", "mask")}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools 2.0 under NumPy 2
        data: list[Any] = [COCO(), COCO()]
        for coco, entries in zip(data, (objects, guesses), strict=True):
            coco.dataset = {
                "images": images,
                "categories": [{"id": 1, "name": "object"}],
                "annotations": [{**entry, "id": number} for number, entry in enumerate(entries, start=1)],
            }
            coco.createIndex()
        results = {}
        kinds: Any = (("box", "bbox"), ("mask", "segm"))
        for kind, iou_type in kinds:
            judge = COCOeval(data[0], data[1], iou_type)
            judge.evaluate()
            draws = [_resampled_ap(judge, images) for images in ([] if resampled is None else resampled)]
            judge.accumulate()
            judge.summarize()
            ap, ap50, ap75 = (float(value) for value in judge.stats[:3])
            results[kind] = AveragePrecision(ap=ap, ap50=ap50, ap75=ap75, draws=tuple(draws))
    return results


def _resampled_ap(judge: "COCOeval", images: Int[np.ndarray, " images"]) -> float:
    """AP over all sizes of the evaluated images, some of them repeated."""
    every, settings = judge.evalImgs, copy(judge.params)
    settings.areaRng, settings.areaRngLbl, settings.maxDets = settings.areaRng[:1], ["all"], settings.maxDets[-1:]
    judge.evalImgs = [every[image] for image in images]
    judge.accumulate(settings)
    judge.evalImgs = every
    precision = judge.eval["precision"]
    return float(precision[precision > -1].mean()) if (precision > -1).any() else 0.0


def _entry(mask: np.ndarray, image: int, **more: object) -> dict[str, object]:
    return {
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "area": float(mask.sum()),
        "bbox": mask_box(mask),
        "segmentation": encode_mask(mask),
        **more,
    }


def mask_box(mask: np.ndarray) -> list[float]:
    """Left and top edge, width and height of the tight bounding box, as in COCO; zeros for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0.0] * 4
    sides = (columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    return [float(number) for number in (columns[0], rows[0], *sides)]
