"""CorLoc: localisation of labelled objects by boxes around attention maps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

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
from crate_transformer.inspection import on_grid, threshold_entries

FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
"""Candidates for the fraction of entries above the threshold."""

LOCATED = 0.5
"""IoU from which on an object counts as located."""


@dataclass(frozen=True, kw_only=True)
class CorLocScore:
    """Fraction of the images whose box has an IoU of at least 0.5 with the true one; ``mean_iou`` is the mean IoU.

    ``choices`` are the layer, head, sign and fraction of entries, chosen on the other half of the images.
    """

    corloc: float
    mean_iou: float
    per_image: Float[np.ndarray, " images"]
    choices: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class CorLoc:
    """Rows ``model``, ``untrained`` (the highest of five random initialisations), ``shuffled`` (boxes of other images),
    ``mean_mask_prior`` and the trivial cues (``of_cues``), all by the same code on the same images."""

    rows: dict[str, CorLocScore]
    input_size: tuple[int, int]
    grid: tuple[int, int]
    num_images: int

    def to_dict(self) -> dict[str, object]:
        """Everything except per-image values, ready for JSON."""
        rows = {
            row: {"corloc": score.corloc, "mean_iou": score.mean_iou, "choices": score.choices}
            for row, score in self.rows.items()
        }
        rule = (
            "tight box of the largest connected part of the map's largest entries; layer, head, sign and fraction of "
        )
        return {
            "rows": rows,
            "rule": rule + "entries are the best on the other half of the images",
            "input_size": self.input_size,
            "grid": self.grid,
            "num_images": self.num_images,
        }


def corloc(
    model: nn.Module,
    pixels: UInt8[Tensor, "images 3 height width"],
    boxes: Float[np.ndarray, "boxes 4"],
    *,
    undecided: Bool[Tensor, "images height width"] | None = None,
    untrained: Sequence[nn.Module] | None = None,
    maps: Iterable[Candidates] | None = None,
    seed: int = 0,
    show: bool = False,
) -> CorLoc:
    """Localise the labelled object of each image by the class token's attention (CorLoc, correct localisation).

    Args:
        pixels: images whose size is a multiple of the patch size.
        boxes: left, top, right and bottom edge of the object in each image, in pixels of ``pixels``.
        undecided: pixels that are not scored: patches of which they are more than half count in no mask around which a
            box is drawn.
        untrained: the controls; default: ``untrained_twins(model, seed)``.
        maps: of ``attention_with_controls`` for these images, if they are there; ``untrained`` is then not used.
        seed: also used for the division into halves.

    Raises:
        ValueError: the numbers of images and boxes differ, a box is empty, or there are fewer than four.
    """
    if len(pixels) != len(boxes):
        raise ValueError(f"there are {len(pixels)} images but {len(boxes)} boxes: give one box for each image")
    empty = np.flatnonzero((boxes[:, 2:] <= boxes[:, :2]).any(axis=1))
    if len(empty):
        raise ValueError(f"box {empty[0]} is empty: give left, top, right and bottom edge in pixels")
    fold = halves(len(boxes), seed)
    of_models = iter(maps or attention_with_controls(model, pixels, untrained=untrained, seed=seed, show=show))
    ours = next(of_models)
    height, width = pixels.shape[-2:]
    grid = ours.maps.shape[-2:]
    scale = np.array([grid[1] / width, grid[0] / height] * 2)
    truth = boxes * scale
    scored = None if undecided is None else ~on_grid(undecided.cpu().numpy(), grid)
    rows = chain(
        [("model", ours), ("mean_mask_prior", of_prior(means_of_others(_filled(truth, grid), fold)))],
        of_cues(pixels, grid).items(),
        (("untrained", control) for control in of_models),
    )
    scores: dict[str, CorLocScore] = {}
    each = np.arange(len(truth))
    for row, candidates in rows:
        every, choices = _boxes(both_signs(candidates), scored)
        ious = box_iou(every, truth)
        chosen = cross_fit((ious >= LOCATED) + 1e-6 * ious, fold)
        made = tuple(choices_made(choices, chosen))
        keep_highest(scores, row, _score(ious[chosen, each], made), by="corloc")
        if row == "model":
            picked = every[chosen, each]
            moved = np.concatenate([box_iou(np.roll(picked, shift, axis=0), truth) for shift in shifts(len(truth))])
            scores["shuffled"] = _score(moved, made)
    return CorLoc(rows=scores, input_size=(height, width), grid=tuple(grid), num_images=len(truth))


def _score(ious: np.ndarray, choices: tuple[Mapping[str, Any], ...]) -> CorLocScore:
    return CorLocScore(
        corloc=float((ious >= LOCATED).mean()), mean_iou=float(ious.mean()), per_image=ious, choices=choices
    )


def _filled(boxes: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Each box as a mask of the patches whose centres it contains."""
    rows, columns = (np.arange(side) + 0.5 for side in grid)
    inside = (boxes[:, :1] <= columns) & (columns < boxes[:, 2:3])
    below = (boxes[:, 1:2] <= rows) & (rows < boxes[:, 3:])
    return (below[:, :, None] & inside[:, None]).astype(np.float64)


def _boxes(candidates: Candidates, scored: np.ndarray | None) -> tuple[np.ndarray, list[Mapping[str, Any]]]:
    """The box of every candidate at every threshold, ``(candidates, images, 4)``, and the choice of each."""
    boxes, choices = [], []
    for fraction in FRACTIONS:
        for maps, choice in zip(threshold_entries(candidates.maps, fraction), candidates.choices, strict=True):
            boxes.append(largest_boxes(maps if scored is None else maps & scored))
            choices.append({**choice, "fraction": fraction})
    return np.array(boxes, dtype=np.float64), choices


def largest_boxes(masks: Bool[np.ndarray, "masks rows columns"]) -> Int[np.ndarray, "masks 4"]:
    """Left, top, right and bottom edge of the largest 4-connected part of each mask, of the first one if several are
    equally large; zeros for an empty mask."""
    within = scipy.ndimage.generate_binary_structure(2, 1)
    connected = np.stack([np.zeros_like(within), within, np.zeros_like(within)])
    labels, count = scipy.ndimage.label(masks, connected)  # pyright: ignore[reportGeneralTypeIssues]
    parts = scipy.ndimage.find_objects(labels)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    boxes = np.zeros((len(masks), 4), dtype=np.int64)
    for number in np.argsort(-sizes, kind="stable")[::-1]:  # the largest part of a mask is written last
        mask, rows, columns = parts[number]
        boxes[mask.start] = columns.start, rows.start, columns.stop, rows.stop
    return boxes


def box_iou(
    boxes: Float[np.ndarray, "*lead images 4"], truth: Float[np.ndarray, "images 4"]
) -> Float[np.ndarray, "*lead images"]:
    """Intersection over union of boxes given by their edges."""
    sides = np.minimum(boxes[..., 2:], truth[..., 2:]) - np.maximum(boxes[..., :2], truth[..., :2])
    shared = sides.clip(min=0).prod(axis=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1) + (truth[..., 2:] - truth[..., :2]).prod(axis=-1)
    return shared / (area - shared)
