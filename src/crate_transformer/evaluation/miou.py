"""Coarse segmentation by single heads: the protocol of arXiv 2308.16271, and a stricter one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import nn

from crate_transformer.data import SegmentationArrays
from crate_transformer.evaluation.candidates import (
    Candidates,
    attention_with_controls,
    both_signs,
    choices_made,
    cross_fit,
    halves,
    means_of_others,
    of_cues,
    of_prior,
    shifts,
)
from crate_transformer.evaluation.comparison import keep_highest
from crate_transformer.inspection import on_grid, threshold_entries, threshold_mass

Reading = Literal["entries", "mass"]
THRESHOLDS: dict[Reading, Callable] = {"entries": threshold_entries, "mass": threshold_mass}


@dataclass(frozen=True, kw_only=True)
class MIoU:
    """Intersection over union: mean over the classes of an image, then over images.

    ``per_class`` is the mean over the images with the class; ``choices`` are the layers and heads, or signs, that were
    chosen on other images (empty if the best head of each image and class counts).
    """

    mean: float
    per_image: Float[np.ndarray, " images"]
    per_class: dict[int, float]
    choices: tuple[Mapping[str, Any], ...] = ()

    @property
    def standard_error(self) -> float:
        """Unbiased standard deviation over images, divided by the square root of their number."""
        return float(self.per_image.std(ddof=1) / len(self.per_image) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class ClassMasks:
    """One mask on the token grid for each class in each image; ``image`` is numbered from 0 without gaps. Only
    ``scored`` patches of an image count, by default all."""

    masks: Bool[np.ndarray, "masks rows columns"]
    image: Int[np.ndarray, " masks"]
    label: Int[np.ndarray, " masks"]
    scored: Bool[np.ndarray, "images rows columns"] | None = None

    def ious(self, found: Bool[np.ndarray, "candidates images rows columns"]) -> Float[np.ndarray, "candidates masks"]:
        """IoU of each candidate's mask of an image with each class in it."""
        scores = np.empty((len(found), len(self.masks)))
        for row, masks in zip(scores, found, strict=True):
            other = (masks if self.scored is None else masks & self.scored)[self.image]
            row[:] = (other & self.masks).sum(axis=(1, 2)) / (other | self.masks).sum(axis=(1, 2))
        return scores

    def per_image(self, scores: Float[np.ndarray, "*rows masks"]) -> Float[np.ndarray, "*rows images"]:
        """Mean over the classes in each image."""
        member = self.image == np.arange(self.image.max() + 1)[:, None]
        return scores @ (member / member.sum(axis=1, keepdims=True)).T

    def summary(self, scores: Float[np.ndarray, " masks"], choices: tuple[Mapping[str, Any], ...] = ()) -> MIoU:
        """Means over classes and images."""
        per_class = {int(label): float(scores[self.label == label].mean()) for label in np.unique(self.label)}
        per_image = self.per_image(scores)
        return MIoU(mean=float(per_image.mean()), per_image=per_image, per_class=per_class, choices=choices)


def coarse_miou(
    masks: Bool[np.ndarray, "images heads rows columns"],
    labels: Int[np.ndarray, "images rows columns"],
    *,
    background: bool = False,
    void: int = 255,
) -> MIoU:
    r"""Best head for each class of each image, mean over its classes, then over images (arXiv 2308.16271, appendix B).

    .. math:: \mathrm{mIoU} = \tfrac1I \sum_i \tfrac1{|M_i|} \sum_{m \in M_i} \max_k \mathrm{IoU}(A_{i,k}, S_{i,m})

    Args:
        masks: one mask for each head.
        labels: a class for each patch, 0 for background.
        background: whether the background is a class too.
        void: the label of undecided patches, which count as outside every class.

    Raises:
        ValueError: no image has a class.
    """
    pairs = [
        (image, int(label))
        for image, grid in enumerate(labels)
        for label in np.unique(grid)
        if label != void and (label != 0 or background)
    ]
    if not pairs:
        raise ValueError("no image has a class: there is nothing to segment")
    shown = sorted({image for image, _ in pairs})
    truth = ClassMasks(
        masks=np.stack([labels[image] == label for image, label in pairs]),
        image=np.searchsorted(shown, [image for image, _ in pairs]),
        label=np.array([label for _, label in pairs]),
    )
    return truth.summary(truth.ious(masks[shown].swapaxes(0, 1)).max(axis=0))


@dataclass(frozen=True, kw_only=True)
class AttentionMIoU:
    """The class token's attention as a segmentation, with controls, for both interpretations of "top 60%".

    ``best_head[reading][row]`` follows the paper: in ``layer``, the best head for each class of each image counts, so
    the choice uses the masks themselves and every score is too high. For ``fixed_head[reading][row]``, layer, head and
    sign are chosen on the other half of the images. Patches that are mostly undecided do not count. Rows: ``model``;
    ``untrained``, the highest of five random initialisations; ``shuffled``, the model's maps against masks of other
    images; ``mean_mask_prior``, the mean mask of the other half; the trivial cues of each patch (``of_cues``), with the
    better sign. ``num_dropped`` images have no class that covers more than half of a patch.
    """

    best_head: dict[Reading, dict[str, MIoU]]
    fixed_head: dict[Reading, dict[str, MIoU]]
    fraction: float
    layer: int
    input_size: tuple[int, int]
    grid: tuple[int, int]
    num_images: int
    num_dropped: int

    def to_dict(self) -> dict[str, object]:
        """Everything except per-image values, ready for JSON."""
        tables = {
            protocol: {
                reading: {
                    row: {
                        "mean": score.mean,
                        "standard_error": score.standard_error,
                        "per_class": score.per_class,
                        "choices": score.choices,
                    }
                    for row, score in rows.items()
                }
                for reading, rows in getattr(self, protocol).items()
            }
            for protocol in ("best_head", "fixed_head")
        }
        rules = {
            "best_head_rule": f"layer {self.layer}; the best head of each image and class counts",
            "fixed_head_rule": "layer, head and sign are the best on the other half of the images",
            "grid_rule": "a patch belongs to a class that covers more than half of what is decided of it",
        }
        names = ("fraction", "layer", "input_size", "grid", "num_images", "num_dropped")
        return {**tables, **rules, **{name: getattr(self, name) for name in names}}


def attention_miou(
    model: nn.Module,
    samples: SegmentationArrays,
    *,
    layer: int = -1,
    fraction: float = 0.6,
    untrained: Sequence[nn.Module] | None = None,
    maps: Iterable[Candidates] | None = None,
    seed: int = 0,
    show: bool = False,
) -> AttentionMIoU:
    """Score the largest entries, or the largest mass, of each head's class-token attention against every class.

    The protocol of arXiv 2308.16271, appendix B, whose "top 60% of entries" may also mean 60% of the mass; with all
    controls, and a second time with layer and head chosen on other images.

    Args:
        samples: from ``data.resize_and_centre_crop``, with a size that is a multiple of the patch size.
        layer: layer of the paper's protocol; zero-based, negative ones count from the end.
        untrained: the controls; default: ``untrained_twins(model, seed)``.
        maps: of ``attention_with_controls`` for these images, if they are there; ``untrained`` is then not used.
        seed: also used for the division into halves.

    Raises:
        ValueError: the layer does not exist, or fewer than four images have a class.
    """
    every = iter(maps or attention_with_controls(model, samples.pixels, untrained=untrained, seed=seed, show=show))
    ours = next(every)
    depth = 1 + max(choice["layer"] for choice in ours.choices)
    if not -depth <= layer < depth:
        raise ValueError(f"there is no layer {layer}: the model has layers 0 to {depth - 1} (or -1 for the last)")
    grid = ours.maps.shape[-2:]
    masks, scored = on_grid(np.asarray(samples.masks), grid), None
    if samples.undecided is not None:
        unknown = np.asarray(samples.undecided)
        scored = ~on_grid(unknown, grid)
        masks = on_grid(np.asarray(samples.masks), grid, unknown[samples.image]) & scored[samples.image]
    usable = masks.any(axis=(1, 2))
    shown, image = np.unique(samples.image[usable], return_inverse=True)
    scored = None if scored is None else scored[shown]
    truth = ClassMasks(masks=masks[usable], image=image, label=samples.label[usable], scored=scored)
    fold = halves(len(shown), seed)
    covered = np.stack([truth.masks[image == number].any(axis=0) for number in range(len(shown))]).astype(np.float64)
    rows = chain(
        [("model", ours.on(shown)), ("mean_mask_prior", of_prior(means_of_others(covered, fold)))],
        of_cues(samples.pixels[shown], grid).items(),
        (("untrained", control.on(shown)) for control in every),
    )
    best_head: dict[Reading, dict[str, MIoU]] = {reading: {} for reading in THRESHOLDS}
    fixed_head: dict[Reading, dict[str, MIoU]] = {reading: {} for reading in THRESHOLDS}
    each = np.arange(len(truth.masks))
    for row, candidates in rows:
        signed = both_signs(candidates)
        here = [i for i, c in enumerate(candidates.choices) if c.get("layer", layer % depth) == layer % depth]
        for reading, threshold in THRESHOLDS.items():
            found = threshold(signed.maps, fraction)
            ious = truth.ious(found)
            chosen = cross_fit(truth.per_image(ious), fold)
            choices = tuple(choices_made(signed.choices, chosen))
            keep_highest(best_head[reading], row, truth.summary(ious[here].max(axis=0)))
            keep_highest(fixed_head[reading], row, truth.summary(ious[chosen[truth.image], each], choices))
            if row == "model":
                moved = [truth.ious(np.roll(found, shift, axis=1)) for shift in shifts(len(shown))]
                best_head[reading]["shuffled"] = truth.summary(np.mean([some[here].max(axis=0) for some in moved], 0))
                fixed = np.mean([some[chosen[truth.image], each] for some in moved], axis=0)
                fixed_head[reading]["shuffled"] = truth.summary(fixed, choices)
    return AttentionMIoU(
        best_head=best_head,
        fixed_head=fixed_head,
        fraction=fraction,
        layer=layer % depth,
        input_size=(samples.pixels.shape[-2], samples.pixels.shape[-1]),
        grid=tuple(grid),
        num_images=len(shown),
        num_dropped=len(samples.names) - len(shown),
    )
