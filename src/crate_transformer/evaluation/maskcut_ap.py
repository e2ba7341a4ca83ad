"""Average precision of MaskCut by the protocol of arXiv 2308.16271, with controls."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.ndimage
from PIL import Image
from torch import nn

from crate_transformer.data import SegmentationSample, decode_mask, encode_mask, normalise, pixels
from crate_transformer.evaluation.average_precision import AveragePrecision, average_precision
from crate_transformer.evaluation.candidates import TRIVIAL, of_cues
from crate_transformer.evaluation.comparison import keep_highest
from crate_transformer.inspection import maskcut, preprocessing_of, threshold_otsu, untrained_twins, upsample

DRAWS = 200
"""Number of times that the images are drawn with replacement, for the standard errors."""


@dataclass(frozen=True, kw_only=True)
class MaskCutPrecision:
    """``rows[row]["box"]`` and ``["mask"]``: class-agnostic average precision on the same images by the same code.

    Rows: ``model``; ``untrained``, the highest of five random initialisations; ``shuffled``, the model's masks of the
    next image; ``mean_mask_prior``, one object: the mean mask of the other images above Otsu's threshold; the trivial
    cues (``of_cues``), the largest connected parts above Otsu's threshold (or below it, if they contain three corners).
    ``objects_per_image`` is the number of non-empty masks of each row. Undecided pixels belong to no mask.
    """

    rows: dict[str, dict[str, AveragePrecision]]
    objects_per_image: dict[str, float]
    layer: int
    tau: float
    num_masks: int
    input_size: tuple[int, int]
    num_images: int

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON, with the rules."""
        names = ("objects_per_image", "layer", "tau", "num_masks", "input_size", "num_images")
        return {
            "rows": {
                row: {kind: precision.to_dict() for kind, precision in kinds.items()}
                for row, kinds in self.rows.items()
            },
            "score_rule": "all first objects of images are ranked before all second ones, those before all third ones",
            "resize_rule": "images are resized to the input size without keeping their aspect ratio; masks are resized "
            "back with nearest-neighbour interpolation",
            **{name: getattr(self, name) for name in names},
        }


class _Masks(Sequence[list[np.ndarray]]):
    """Lists of masks, one for each image: in memory as run lengths, because all masks of COCO need many gigabytes."""

    def __init__(self) -> None:
        self.runs: list[list[dict[str, Any]]] = []

    def append(self, masks: Iterable[np.ndarray]) -> None:
        self.runs.append([encode_mask(mask) for mask in masks])

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, image: Any) -> Any:
        return [decode_mask(runs, *runs["size"]) for runs in self.runs[image]]


def maskcut_average_precision(
    model: nn.Module,
    samples: Iterable[SegmentationSample],
    *,
    size: int = 480,
    num_masks: int = 3,
    tau: float = 0.15,
    layer: int = -1,
    untrained: Sequence[nn.Module] | None = None,
    seed: int = 0,
) -> MaskCutPrecision:
    """Compare MaskCut's objects in every image with the true ones, ignoring classes.

    The protocol of arXiv 2308.16271, table 1: three objects, threshold 0.15, no CRF. Image size and ranking are not
    stated there; here the size is 480 pixels, as in MaskCut's code, and objects are ranked in the order of the cuts.

    Args:
        samples: samples with objects.
        size: side in pixels to which images are resized, a multiple of the patch size.
        layer: layer of the features; zero-based, negative ones count from the end.
        untrained: the controls; default: ``untrained_twins(model, seed)``.
        seed: also of the resampled images.

    Raises:
        ValueError: there are fewer than two samples; or as in ``maskcut``.
    """
    judges = {"model": [model], "untrained": list(untrained or untrained_twins(model, seed))}
    found: dict[str, list[list[np.ndarray]]] = {row: [[] for _ in models] for row, models in judges.items()}
    found |= {cue: [[]] for cue in TRIVIAL}
    truth, decided = _Masks(), _Masks()
    crowd: list[tuple[bool, ...]] = []
    covered: list[np.ndarray] = []
    cuts = None
    for sample in samples:
        squeezed = pixels(sample.picture.resize((size, size), Image.Resampling.LANCZOS))
        inputs = normalise(squeezed, preprocessing_of(model))[None]
        for row, models in judges.items():
            for judged, masks in zip(models, found[row], strict=True):
                cuts = maskcut(judged, inputs, num_masks=num_masks, tau=tau, layer=layer)
                masks.append(cuts.masks[0])
        assert cuts is not None
        grid = cuts.masks.shape[2:]
        for cue, candidates in of_cues(squeezed[None], grid).items():
            found[cue][0].append(_parts(candidates.maps[0, 0], num_masks))
        truth.append(sample.objects)
        crowd.append(sample.crowd)
        everywhere = np.ones((sample.picture.height, sample.picture.width), dtype=bool)
        decided.append([everywhere if sample.undecided is None else ~sample.undecided])
        covered.append(_coverage(sample, grid))
    if cuts is None or len(truth) < 2:
        raise ValueError(f"average precision with controls needs at least two images, not {len(truth)}")
    total = np.sum(covered, axis=0)
    found["mean_mask_prior"] = [[_parts((total - own) / (len(covered) - 1), 1) for own in covered]]
    found["shuffled"] = [some[1:] + some[:1] for some in found["model"]]
    count = len(truth)
    resampled = np.random.default_rng(seed).integers(0, count, (DRAWS, count))
    rows: dict[str, dict[str, AveragePrecision]] = {row: {} for row in found}
    for row, several in found.items():
        for every in several:
            stretched = _Masks()
            for some, (shown,) in zip(every, decided, strict=True):
                stretched.append(upsample(some, shown.shape) & shown)
            ranks = [[1.0 / (1 + step) for step in range(len(some))] for some in every]
            for kind, precision in average_precision(stretched, ranks, truth, crowd, resampled).items():
                keep_highest(rows[row], kind, precision, by="ap")
    return MaskCutPrecision(
        rows=rows,
        objects_per_image={
            row: float(np.mean([masks.any(axis=(1, 2)).sum() for every in several for masks in every]))
            for row, several in found.items()
        },
        layer=cuts.layer,
        tau=tau,
        num_masks=num_masks,
        input_size=(size, size),
        num_images=len(truth),
    )


def _coverage(sample: SegmentationSample, grid: tuple[int, int]) -> np.ndarray:
    """The fraction of each patch that is covered by objects."""
    union = np.zeros((sample.picture.height, sample.picture.width), dtype=np.float32)
    for mask in sample.objects:
        union[mask] = 1
    return np.asarray(Image.fromarray(union).resize((grid[1], grid[0]), Image.Resampling.BOX))


def _parts(values: np.ndarray, count: int) -> np.ndarray:
    """The largest connected parts above Otsu's threshold, or below it if the part above contains three corners."""
    above = threshold_otsu(values)
    if above[[0, 0, -1, -1], [0, -1, 0, -1]].sum() >= 3:
        above = ~above
    labels, found = scipy.ndimage.label(above)  # pyright: ignore[reportGeneralTypeIssues]
    largest = 1 + np.argsort(-np.bincount(labels.ravel(), minlength=found + 1)[1:], kind="stable")[:count]
    return np.stack([labels == part for part in largest]) if found else np.zeros((1, *values.shape), dtype=bool)
